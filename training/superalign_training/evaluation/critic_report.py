"""Everything that is measured of a critic on held-out requests, as metrics."""

from collections.abc import Sequence
from typing import NamedTuple

from superalign_env.protocols import Agent
from superalign_env.seeding import generator, mix
from superalign_env.types import Episode, Metric, Split, Task
from superalign_scenarios.microworld.source import MicroWorld
from superalign_training.evaluation import critic_probes, critics, critiques
from superalign_training.evaluation.scenes import Scenes


class Pair(NamedTuple):
    """A critic and the learner whose answers it judges, with their names in the record."""

    critic: Agent
    learner: Agent
    critic_name: str
    learner_name: str


def critic_report(
    pair: Pair,
    planted: Sequence[Episode],
    *,
    split: Split = "test",
    cases: int = 200,
    seed: int = 0,
    tags: dict[str, str],
    step: int = 0,
) -> list[Metric]:
    """Return what a critic is worth on held-out requests of the microworld.

    Args:
        pair: who is measured.
        planted: episodes of the split with planted answers, judged by the critic.
        split: of the probes.
        cases: requests of each probe.
        seed: of the requests and of the agents' random numbers.
        tags: of every metric.
        step: of every metric.
    """
    scenes = Scenes(split, seed=seed)
    one, two = (_requests(tier, split, cases, seed) for tier in (1, 2))
    probes = {
        "order": critic_probes.order_bias(pair.critic, scenes, [t.prompt for t in two]),
        "length": critic_probes.length_bias(pair.critic, scenes, [t.prompt for t in one]),
    }
    gain = critiques.critique_gain(pair.learner, pair.critic, scenes, one, seed=seed)
    found = critiques.as_metrics(
        gain, learner=pair.learner_name, critic=pair.critic_name, tags=tags, step=step
    )
    for name, bias in probes.items():
        found += critic_probes.as_metrics(
            bias, name, agent=pair.critic_name, tags=tags, step=step
        )
    measures = critics.measured(critics.judged(planted, MicroWorld()))
    if measures is not None:
        on_planted = {**tags, "on": "planted"}
        found += critics.as_metrics(
            measures, agent=pair.critic_name, tags=on_planted, step=step
        )
    return found


def _requests(tier: int, split: Split, cases: int, seed: int) -> list[Task]:
    """Draw requests of one tier, half harmful and half benign in the mean."""
    world = MicroWorld(tiers=(tier,))
    rng = generator(mix(seed, tier))
    return [world.draw(rng, split) for _ in range(cases)]
