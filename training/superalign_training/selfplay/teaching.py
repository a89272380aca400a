"""Teaching in courses: new lessons, and replay of what must not be forgotten, by turns."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from superalign_env.canonical import content_hash
from superalign_env.protocols import Agent
from superalign_env.types import Role
from superalign_training.algorithms.algorithm import Supervised, make_algorithm
from superalign_training.algorithms.supervision import ReplaySettings
from superalign_training.data import Example
from superalign_training.data.rated import rated_answers, replay_examples
from superalign_training.evaluation.holdout import exam
from superalign_training.policy import Policy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.playing import play, renderer_of
from superalign_training.selfplay.settings import Settings


class TeachingPlan(NamedTuple):
    """What is taught, and how often lessons and replay take turns."""

    algorithm: Supervised
    lessons: Sequence[Any]
    replay: Sequence[Example] = ()
    replay_by: Supervised | None = None
    """How the replay is imitated."""
    turns: int = 1


def hold(
    context: StageContext, learner: Policy, courses: TeachingPlan, *, role: Role
) -> dict[str, float]:
    """Teach the policy of a role in place; return the numbers of the last course of lessons."""
    steps = max(1, courses.algorithm.steps // courses.turns)
    course = cast(Supervised, make_algorithm({"steps": steps}, default=courses.algorithm))
    total = courses.turns * steps
    numbers: dict[str, float] = {}
    for place in range(courses.turns):
        numbers = course.improve(
            learner,
            courses.lessons,
            seed=context.seed_of(f"order-{place}"),
            on_step=context.on_step(role, learner, course, past=place * steps, total=total),
        )
        if courses.replay and courses.replay_by is not None:
            courses.replay_by.improve(
                learner,
                courses.replay,
                seed=context.seed_of(f"replay-{place}"),
                on_step=context.recorder.on_step(
                    role, learner, courses.replay_by, part="replay"
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
    """Return what a speaker says to general tasks, right or wrong.

    Args:
        context: of the stage.
        settings: of the run.
        rules: how many tasks, and how often each.
        speaker: the untrained original of whoever is taught, or itself as it is before.
        source: of the tasks.
    """
    if not rules.cases:
        return []
    paper = exam("train", source, renderer=renderer_of(settings))
    (seat,) = paper.seats
    sat = play(
        context,
        paper,
        {seat: speaker},
        rules.cases,
        part="replay",
        group=rules.num_generations,
    )
    said = rated_answers(sat, seat)
    return replay_examples(said, source=content_hash(speaker.spec), agree=rules.agree)
