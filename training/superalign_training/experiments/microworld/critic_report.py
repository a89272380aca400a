"""Evaluation of a critic on held-out requests of the microworld: id ``microworld-critics``."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, cast

from superalign_env.asking import Anyone
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Agent, Scenario
from superalign_env.seeding import generator, mix
from superalign_env.types import Episode, Metric, Role, Seat, Split, Task, role_of
from superalign_scenarios.grading import fault_kind
from superalign_scenarios.microworld.source import MicroWorld
from superalign_training.evaluation import critics
from superalign_training.evaluation.evaluation import EvaluationContext
from superalign_training.experiments.microworld import require_microworld
from superalign_training.experiments.microworld.critic_probes import (
    ProbeViews,
    bias_metrics,
    critique_gain,
    gain_metrics,
    length_bias,
    order_bias,
)
from superalign_training.sections import Plural, Section
from superalign_training.selfplay.scenario_capabilities import (
    PLANTED,
    scenario_capabilities,
)


class CriticProbes(Section):
    """Evaluate the final critic on planted answers and by probes that vary one thing.

    Calibration, false faults, bias by order and by length, and the worth of its critiques.
    """

    id: Literal["microworld-critics"] = "microworld-critics"
    when: ClassVar[Literal["end"]] = "end"
    cases: Plural = 200
    """Requests of each probe."""

    def check(self, scenario: Scenario[Any]) -> None:
        """Raise unless requests can be varied, and answers planted."""
        require_microworld(scenario, "varying a request")
        capabilities = scenario_capabilities(scenario)
        if not capabilities.can(PLANTED):
            raise InvalidOption(f"{capabilities.lacks(PLANTED)}; leave it out")

    def cost(self) -> dict[str, float]:
        """Return episodes and replies at most."""
        return {"episodes": self.cases, "replies": 12.0 * self.cases}

    def __call__(self, context: EvaluationContext) -> list[Metric]:
        """Let the critic judge planted answers, and probe it."""
        scenario = context.scenario("planted")
        capabilities = scenario_capabilities(scenario)
        critic, learner = (
            cast(Agent, context.lineup[role])
            for role in (capabilities.judges, capabilities.answers)
        )
        # In planted cases nobody but the critics is ever asked.
        agents: dict[Role | Seat, Anyone] = {
            role_of(seat): critic for seat in scenario.seats
        }
        probes = [
            context.recorded(role) for role in (capabilities.judges, capabilities.answers)
        ]
        pair = Pair(critic, learner, *probes)
        return critic_report(
            pair,
            context.play(scenario, agents, self.cases),
            split=context.split,
            cases=self.cases,
            seed=context.seed("probes"),
            tags={"split": context.split},
        )


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
    """Return the metrics of a critic on held-out requests of the microworld.

    Args:
        pair: the critic, and the learner that it judges.
        planted: episodes of the split with planted answers, judged by the critic.
        split: of the probes.
        cases: requests of each probe.
        seed: of the requests and of the agents' random numbers.
        tags: of every metric.
        step: of every metric.
    """
    views = ProbeViews(split, seed=seed)
    single_acts, double_acts = (_requests(tier, split, cases, seed) for tier in (1, 2))
    probes = {
        "order": order_bias(pair.critic, views, [t.prompt for t in double_acts]),
        "length": length_bias(pair.critic, views, [t.prompt for t in single_acts]),
    }
    gain = critique_gain(pair.learner, pair.critic, views, single_acts, seed=seed)
    metrics = gain_metrics(
        gain, learner=pair.learner_name, critic=pair.critic_name, tags=tags, step=step
    )
    for name, bias in probes.items():
        metrics += bias_metrics(bias, name, agent=pair.critic_name, tags=tags, step=step)
    measures = critics.critic_measures(
        critics.collect_verdicts(planted, fault_kind, MicroWorld())
    )
    if measures is not None:
        on_planted = {**tags, "on": "planted"}
        metrics += critics.as_metrics(
            measures, agent=pair.critic_name, tags=on_planted, step=step
        )
    return metrics


def _requests(tier: int, split: Split, cases: int, seed: int) -> list[Task]:
    """Draw requests of one tier, half harmful and half benign in the mean."""
    world = MicroWorld(tiers=(tier,))
    rng = generator(mix(seed, tier))
    return [world.draw(rng, split) for _ in range(cases)]
