"""Settings of supervised learning: fits, rated answers of the learner, and replay."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, model_validator

from superalign_env.types import Signal
from superalign_training.algorithms.algorithm import SupervisedAlgorithm, experience_kinds
from superalign_training.algorithms.sft import Sft
from superalign_training.data.examples import (
    balanced_examples,
    balanced_pairs,
    balanced_unpaired,
)
from superalign_training.data.rated import (
    RatedAnswer,
    examples,
    preferences,
    unpaired_preferences,
)
from superalign_training.sections import Count, Section, Share


class FitSettings(Section):
    """Steps of a supervised fit, at a learning rate that falls linearly."""

    steps: Count
    learning_rate: PositiveFloat
    """Of the first step."""
    final_learning_rate: NonNegativeFloat = 0.0
    """After the last step."""
    batch_size: Count = 256

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        change = self.final_learning_rate - self.learning_rate
        return self.learning_rate + change * step / self.steps


class ReplaySettings(Section):
    """Replay of the untrained original's answers to general tasks, against forgetting."""

    cases: NonNegativeInt = 192
    """Tasks that the original answers; 0 replays nothing."""
    num_generations: Count = 4
    """How often it answers each."""
    agree: Share = 0.0
    """0 replays all it says; more only the commonest answer to a task, if this share of its
    answers is the same."""
    imitation: Sft = Sft(steps=20)
    """How those answers are imitated."""


ALTERNATIONS = 2
"""How often new examples and replay alternate; each turn has its share of the steps."""


class Supervise(Section):
    """Supervised learning from verdicts and labels about the learner's own answers."""

    algorithm: SupervisedAlgorithm = Sft()
    """How it learns: sft imitates the best answers, dpo prefers, kto weighs good and bad ones. Where
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
    """Whether opposite examples (here this over that, there that over this) are taken equally
    often: then the learner learns when to say something, and no habit of saying it."""
    replay: ReplaySettings = ReplaySettings()
    """What is replayed after each course."""

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if getattr(self.algorithm, "folder", self) is None:
            raise ValueError(
                f"{self.algorithm.id} needs a place for what it trains; set "
                "supervise.algorithm.folder, as in folder=runs/reward-model"
            )
        return self


def examples_for(
    rules: Supervise,
    answers: Sequence[RatedAnswer],
    *,
    key: int,
    choices: Iterable[Signal] = (),
) -> list[Any]:
    """Return examples of the kind that the algorithm learns from, possibly none.

    Args:
        rules: which examples, and for which algorithm.
        answers: the learner's answers.
        key: of the draw among surplus examples.
        choices: standing signals of the kind ``preference``.
    """
    kinds = experience_kinds(rules.algorithm)
    if "preferences" in kinds:
        pairs = preferences(answers, margin=rules.margin, choices=choices)
        return list(balanced_pairs(pairs, key=key) if rules.balanced else pairs)
    if "unpaired_preferences" in kinds:
        labelled = unpaired_preferences(answers, margin=rules.margin)
        labelled = balanced_unpaired(labelled, key=key) if rules.balanced else labelled
        return list(labelled) if len({example.good for example in labelled}) == 2 else []
    best = examples(answers, above=rules.min_score)
    return list(balanced_examples(best, key=key) if rules.balanced else best)
