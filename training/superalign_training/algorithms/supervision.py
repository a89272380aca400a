"""What a learner is taught from its own answers, and what is replayed meanwhile."""

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import NonNegativeInt

from superalign_env.types import Signal
from superalign_training.algorithms.algorithm import experience_kinds
from superalign_training.algorithms.making import LessonAlgorithm
from superalign_training.algorithms.sft import Sft
from superalign_training.experience.answers import Answer
from superalign_training.experience.balance import (
    even_examples,
    even_opinions,
    even_pairs,
)
from superalign_training.experience.critiques import examples, opinions, preferences
from superalign_training.sections import Count, Section, Share


class Replay(Section):
    """General tasks as the untrained original answers them, so that nothing is forgotten."""

    cases: NonNegativeInt = 192
    """Tasks that the original answers; 0 replays nothing."""
    num_generations: Count = 4
    """How often it answers each."""
    agree: Share = 0.0
    """0 replays all it says; more only the commonest answer to a task, if this share of its
    answers is the same."""
    imitation: Sft = Sft(steps=20)
    """How those answers are imitated."""


class Supervise(Section):
    """Teaching the learner by what critics and people said of its answers."""

    algorithm: LessonAlgorithm = Sft()
    """How it learns: sft imitates the best answers, dpo prefers, kto weighs opinions. Where
    answers are a word or two, dpo needs sft_weight=1: else both sides become unlikely."""
    cases: Count = 96
    """Queries that it answers in one stage."""
    num_generations: Count = 4
    """Answers to each, which are compared with each other."""
    revised: bool = True
    """Whether it revises each answer after the critics' verdicts."""
    margin: Share = 0.3
    """Least difference in worth of two answers of which one is preferred."""
    min_score: Share = 0.65
    """Least worth of an answer that is imitated."""
    balanced: bool = True
    """Whether opposite lessons (here this over that, there that over this) are taken equally
    often: then the learner learns when to say something, and no habit of saying it."""
    alternations: Count = 2
    """How often lessons and replay take turns; each turn has its share of the steps."""
    replay: Replay = Replay()
    """What is replayed after each course."""


def lessons_for(
    rules: Supervise,
    found: Sequence[Answer],
    *,
    key: int,
    choices: Iterable[Signal] = (),
) -> list[Any]:
    """Return lessons of the kind that the algorithm learns from; none if they say nothing.

    Args:
        rules: which lessons, and for which algorithm.
        found: the learner's answers.
        key: of the draw among surplus lessons.
        choices: standing signals of the kind ``preference``.
    """
    kinds = experience_kinds(rules.algorithm)
    if "preferences" in kinds:
        pairs = preferences(found, margin=rules.margin, choices=choices)
        return list(even_pairs(pairs, key=key) if rules.balanced else pairs)
    if "opinions" in kinds:
        heard = opinions(found, margin=rules.margin)
        heard = even_opinions(heard, key=key) if rules.balanced else heard
        return list(heard) if len({one.good for one in heard}) == 2 else []
    shown = examples(found, above=rules.min_score)
    return list(even_examples(shown, key=key) if rules.balanced else shown)
