"""Whether critiques help a learner to revise: its own ones, others, in either order."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, difference, mean
from superalign_env.protocols import Agent
from superalign_env.seeding import generator
from superalign_env.types import Metric, Task, View
from superalign_scenarios.microworld.words import ANSWERS
from superalign_training.evaluation.likelihood import begins
from superalign_training.experiments.microworld.scenes import Scenes

Numbers = npt.NDArray[np.float64]


class CritiqueGain(NamedTuple):
    """Probability of a right answer: at first, and revised after two kinds of critique."""

    first: Estimate
    own: Estimate
    """After the critique of this very answer."""
    shuffled: Estimate
    """After the critique of another case."""
    gain: Estimate
    """own − shuffled, paired by case: what is in the critique beyond that there is one."""
    over_first: Estimate
    """own − first, paired by case."""


class VerdictOrder(NamedTuple):
    """What the order of two critics' verdicts does to a revision."""

    shift: Estimate
    """Probability of complying when the good verdict comes last minus first."""
    right: Estimate
    """Probability of a right revision, good verdict last minus first."""


def critique_gain(
    learner: Agent, critic: Agent, scenes: Scenes, tasks: Sequence[Task], *, seed: int = 0
) -> CritiqueGain:
    """Let a learner answer, hear a critique, and revise.

    The learner answers once as it does; how likely its answers are right is read off its
    probabilities where it has any. In the control every learner hears the critique of
    another case, drawn at random, none its own.

    Args:
        learner: who answers.
        critic: who judges the first answers.
        scenes: of the split and source of the tasks.
        tasks: requests, two or more.
        seed: of the shuffle.

    Raises:
        InvalidOption: fewer than two tasks: there is no other case.
    """
    n = len(tasks)
    if n < 2:
        raise InvalidOption(f"{n} tasks leave no other case to take a critique from")
    views = [scenes.asked(i, task.prompt) for i, task in enumerate(tasks)]
    first = _right(learner, views, tasks, scenes)
    answers = [reply.text for reply in learner.act(views)]
    judging = [scenes.judged(i, t.prompt, answers[i]) for i, t in enumerate(tasks)]
    verdicts = [reply.text for reply in critic.act(judging)]

    def revised(heard: Sequence[int]) -> Numbers:
        return _right(
            learner,
            [
                scenes.criticised(i, task.prompt, answers[i], [verdicts[heard[i]]])
                for i, task in enumerate(tasks)
            ],
            tasks,
            scenes,
        )

    own, shuffled = revised(range(n)), revised(_elsewhere(n, seed))
    return CritiqueGain(
        mean(first.tolist()),
        mean(own.tolist()),
        mean(shuffled.tolist()),
        difference(own.tolist(), shuffled.tolist()),
        difference(own.tolist(), first.tolist()),
    )


def verdict_order(
    learner: Agent,
    scenes: Scenes,
    tasks: Sequence[Task],
    *,
    verdicts: tuple[str, str] = ("score 9 sure 9", "score 0 sure 9"),
) -> VerdictOrder:
    """Let a learner revise after two critics who disagree, in either order.

    Every case is asked with either first answer.

    Args:
        learner: who revises.
        scenes: of the split and source of the tasks.
        tasks: requests.
        verdicts: a good one and a bad one.

    Raises:
        InvalidOption: no tasks.
    """
    if not tasks:
        raise InvalidOption("no tasks, no revision")
    good, bad = verdicts
    cases = [(i, task, answer) for i, task in enumerate(tasks) for answer in ANSWERS]

    def said(order: Sequence[str]) -> tuple[Numbers, Numbers]:
        views = [scenes.criticised(i, t.prompt, a, order) for i, t, a in cases]
        likely = begins(learner, views, ANSWERS).probability
        right = _is_right([task for _, task, _ in cases], scenes)
        return likely[:, ANSWERS.index("comply")], (likely * right).sum(axis=1)

    (last, last_right), (early, early_right) = said((bad, good)), said((good, bad))
    return VerdictOrder(
        difference(last.tolist(), early.tolist()),
        difference(last_right.tolist(), early_right.tolist()),
    )


def as_metrics(
    found: CritiqueGain, *, learner: str, critic: str, tags: dict[str, str], step: int = 0
) -> list[Metric]:
    """Return the gain as metrics of the critic, against the learner that it criticised."""
    rows = (
        ("critique.gain", found.gain),
        ("critique.gain-over-first", found.over_first),
        ("critique.right-first", found.first),
        ("critique.right-revised", found.own),
        ("critique.right-shuffled", found.shuffled),
    )
    return [
        Metric(
            name,
            *estimate,
            agent=critic if name.startswith("critique.gain") else learner,
            opponent=learner if name.startswith("critique.gain") else critic,
            tags=tags,
            step=step,
        )
        for name, estimate in rows
    ]


def _elsewhere(n: int, seed: int) -> list[int]:
    """Return for each case another one; every case is somebody's other."""
    order = generator(seed).permutation(n).tolist()
    after = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [after[case] for case in range(n)]


def _right(
    learner: Agent, views: Sequence[View], tasks: Sequence[Task], scenes: Scenes
) -> Numbers:
    """Return how likely each answer is right."""
    likely = begins(learner, views, ANSWERS).probability
    found: Numbers = (likely * _is_right(tasks, scenes)).sum(axis=1)
    return found


def _is_right(tasks: Sequence[Task], scenes: Scenes) -> npt.NDArray[np.bool_]:
    """Return [N, W] which of the answers the truth asks for."""
    gold = [scenes.rules.source.gold(task).answer for task in tasks]
    return np.array([[word == answer for word in ANSWERS] for answer in gold], np.bool_)
