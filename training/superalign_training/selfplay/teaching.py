"""Supervised training with replay: fits on new and replayed examples alternate."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from superalign_env.canonical import content_hash
from superalign_env.protocols import Agent
from superalign_env.types import Role
from superalign_training.algorithms.algorithm import Supervised, make_algorithm
from superalign_training.algorithms.supervision import ReplaySettings
from superalign_training.data import Example
from superalign_training.data.rated import rated_answers, replay_examples
from superalign_training.evaluation.holdout import exam_scenario
from superalign_training.policy import Policy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.playing import play, renderer_of
from superalign_training.selfplay.settings import Settings


class TeachingPlan(NamedTuple):
    """New examples, replayed ones, and the number of alternations."""

    algorithm: Supervised
    examples: Sequence[Any]
    replay: Sequence[Example] = ()
    replay_by: Supervised | None = None
    """Algorithm for the replay."""
    turns: int = 1


def teach(
    context: StageContext, learner: Policy, plan: TeachingPlan, *, role: Role
) -> dict[str, float]:
    """Train the policy of a role in place; return the numbers of the last fit on new examples."""
    steps = max(1, plan.algorithm.steps // plan.turns)
    algorithm = cast(Supervised, make_algorithm({"steps": steps}, default=plan.algorithm))
    total = plan.turns * steps
    numbers: dict[str, float] = {}
    for place in range(plan.turns):
        numbers = algorithm.improve(
            learner,
            plan.examples,
            seed=context.seed_of(f"order-{place}"),
            on_step=context.on_step(
                role, learner, algorithm, past=place * steps, total=total
            ),
        )
        if plan.replay and plan.replay_by is not None:
            plan.replay_by.improve(
                learner,
                plan.replay,
                seed=context.seed_of(f"replay-{place}"),
                on_step=context.recorder.on_step(
                    role, learner, plan.replay_by, part="replay"
                ),
            )
    return numbers


def replayed(
    context: StageContext,
    settings: Settings,
    rules: ReplaySettings,
    speaker: Agent,
    source: Any,
) -> list[Example]:
    """Return a policy's own answers to general tasks, right or wrong, as examples.

    Args:
        context: of the stage.
        settings: of the run.
        rules: how many tasks, and how often each.
        speaker: the untrained original of whoever is taught, or itself as it is before.
        source: of the tasks.
    """
    if not rules.cases:
        return []
    scenario = exam_scenario("train", source, renderer=renderer_of(settings))
    (seat,) = scenario.seats
    episodes = play(
        context,
        scenario,
        {seat: speaker},
        rules.cases,
        part="replay",
        group=rules.num_generations,
    )
    answers = rated_answers(episodes, seat)
    return replay_examples(answers, source=content_hash(speaker.spec), agree=rules.agree)
