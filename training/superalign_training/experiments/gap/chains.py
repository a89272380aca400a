"""Chains of generations: each a fresh student of some level, taught by all before it.

The first generation learns the human's labels, every later one the vote of the human and
all earlier generations, in which the younger count more. Controllers read `GenerationStats` only.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from superalign_env.seeding import generator, label, mix
from superalign_env.types import Split
from superalign_scenarios.microworld.luck import Luck
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.experiments.gap.human_queries import (
    FAMILIES,
    HumanQuery,
    draw_queries,
    human_says,
    outcome,
)
from superalign_training.experiments.gap.student import Student, StudentAnswer, student_of
from superalign_training.gap import GenerationStats
from superalign_training.oversight.labels import Statement, combine, disagreement

_HUMAN = "human"


class ChainSetting(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of a condition, the same for all of its chains."""

    at: tuple[int, ...]
    """Steps of pre-training at the levels."""
    queries: Literal["fixed", "follow"]
    hardness: tuple[float, float]
    """Share of queries that the human gets wrong, at the lowest and at the highest level;
    fixed queries have the mean of both at every level."""
    labels: int
    """For each family, over all generations of a chain."""
    steps: int
    """Of optimisation, over all generations of a chain."""
    batch: int
    """Requests, and as many exercises, in a step."""
    rate: float
    slips: float
    """Share of human labels that are wrong by accident."""
    control: int
    """Control queries for each family, over all generations; the human labels them too."""
    exam: int
    """Easy ones, and as many hard ones, of each family; as many natural requests."""

    def hardness_at(self, level: int) -> float:
        """Return the share of queries at a level that the human gets wrong."""
        low, high = self.hardness
        if self.queries == "fixed":
            return (low + high) / 2
        return low + (high - low) * level / (len(self.at) - 1)

    def fit_settings(self, of: int) -> FitSettings:
        """Return the lessons of one of so many generations."""
        return FitSettings(
            steps=self.steps // of,
            learning_rate=self.rate,
            final_learning_rate=self.rate / 5,
            batch_size=self.batch,
        )


class Labels(NamedTuple):
    """Labels of some queries."""

    chosen: list[str]
    """By the vote."""
    human: list[str]
    """By the human alone."""
    disagreement: float
    """Share of queries on which two sources differ."""


class TaughtStudent(NamedTuple):
    """One student after its lessons."""

    student: Student
    stats: GenerationStats
    right: dict[str, float]
    """Family → share of its labels that were right; hidden from controllers."""
    tokens: int
    """Of labels that it learned from."""


class Chains:
    """All chains of one seed and one setting; equal beginnings are computed once.

    Args:
        setting: of the condition.
        snapshots: folder of the levels.
        seed: of queries, slips and lessons.
    """

    def __init__(self, setting: ChainSetting, snapshots: Path, *, seed: int) -> None:
        self.setting = setting
        self._snapshots = snapshots
        self._seed = seed
        self._generations: dict[tuple[tuple[int, ...], int], TaughtStudent] = {}

    def generation(self, levels: tuple[int, ...], of: int) -> TaughtStudent:
        """Return the newest generation of a chain that went through these levels.

        Args:
            levels: of all generations so far, the newest included.
            of: how many generations the chain will have, which share its labels and steps.
        """
        if (levels, of) not in self._generations:
            self._generations[levels, of] = self._taught(levels, of)
        return self._generations[levels, of]

    def ceiling(self) -> Student:
        """Return a student of the highest level that was taught the truth, all at once."""
        top = len(self.setting.at) - 1
        queries = self._draw(top, self.setting.labels, "train", 0)
        student = student_of(self._snapshots, top)
        truth = [query.truth for query in queries]
        seed = mix(self._seed, label("gap/lessons"), 0)
        student.teach(queries, truth, self.setting.fit_settings(1), seed=seed)
        return student

    def history(self, levels: tuple[int, ...], of: int) -> tuple[GenerationStats, ...]:
        """Return the statistics of a chain's generations, oldest first."""
        return tuple(self.generation(levels[: n + 1], of).stats for n in range(len(levels)))

    def _taught(self, levels: tuple[int, ...], of: int) -> TaughtStudent:
        setting, number, level = self.setting, len(levels) - 1, levels[-1]
        queries = self._draw(level, setting.labels // of, "train", number)
        labels = self._labels(queries, levels[:-1], of).chosen
        student = student_of(self._snapshots, level)
        seed = mix(self._seed, label("gap/lessons"), number)
        tokens = student.teach(queries, labels, setting.fit_settings(of), seed=seed)
        accuracy = {
            family: _mean(
                q.right(answer)
                for q, answer in zip(queries, labels, strict=True)
                if q.family == family
            )
            for family in FAMILIES
        }
        return TaughtStudent(student, self._stats(student, levels, of), accuracy, tokens)

    def _stats(self, student: Student, levels: tuple[int, ...], of: int) -> GenerationStats:
        number, level = len(levels) - 1, levels[-1]
        queries = self._draw(level, self.setting.control // of, "control", number)
        labels = self._labels(queries, levels[:-1], of)
        answers = student.answers(queries)
        own_outcomes = [
            outcome(q.family, a.text) for q, a in zip(queries, answers, strict=True)
        ]

        def agreement(answers: Sequence[str]) -> float:
            return _mean(
                outcome(query.family, text) == mine
                for query, text, mine in zip(queries, answers, own_outcomes, strict=True)
            )

        return GenerationStats(
            generation=number + 1,
            level=level,
            disagreement=labels.disagreement,
            misfit=1.0 - agreement(labels.chosen),
            confidence=_mean(answer.confidence for answer in answers),
            human_agreement=agreement(labels.human),
            human_labels=len(queries),
        )

    def _draw(self, level: int, n: int, split: Split, number: int) -> list[HumanQuery]:
        """Return n queries of each family; chains at one level ask the same ones."""
        seed = mix(self._seed, label("gap/queries"), number)
        hardness = self.setting.hardness_at(level)
        return [
            query
            for family in FAMILIES
            for query in draw_queries(family, n, hardness=hardness, split=split, seed=seed)
        ]

    def _labels(
        self, queries: Sequence[HumanQuery], ancestors: tuple[int, ...], of: int
    ) -> Labels:
        """Return the vote of the human and all ancestors, and how far they differ."""
        luck = Luck(generator(mix(self._seed, label("gap/human"), len(ancestors))), 512)
        by_source = {
            _HUMAN: [
                StudentAnswer(human_says(q, luck, slips=self.setting.slips), 1.0)
                for q in queries
            ]
        }
        for number in range(len(ancestors)):
            student = self.generation(ancestors[: number + 1], of).student
            by_source[f"generation {number + 1}"] = student.answers(queries)
        statements = [
            Statement(str(row), source, answers[row].text, answers[row].confidence)
            for row in range(len(queries))
            for source, answers in by_source.items()
            if answers[row].text.strip()
        ]
        votes = combine(statements, "ancestors", order=list(by_source))
        return Labels(
            [vote.answer for vote in votes],
            [answer.text for answer in by_source[_HUMAN]],
            disagreement(statements),
        )


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
