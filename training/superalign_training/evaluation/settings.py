"""Settings of evaluation, of rounds and of generations."""

from typing import Annotated, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    model_validator,
)

from superalign_training.algorithms.supervision import FitSettings
from superalign_training.evaluation.evaluation import EvaluationRule
from superalign_training.sections import Count, Plural, Section


class GoldFit(FitSettings):
    """Settings of the gold-answer fit that measures the capacity of a fresh model."""

    steps: Count = 48
    """Optimiser steps."""
    learning_rate: PositiveFloat = 2e-3
    """Learning rate of the first step; it falls linearly."""
    final_learning_rate: NonNegativeFloat = 0.0
    """Learning rate after the last step."""
    batch_size: Count = 64
    """Answers in one step."""


class Capability(Section):
    """Gold-label evaluation of generations on held-out tasks. It steers nothing."""

    families: tuple[str, ...] = ()
    """Families of the tasks of ``competence`` in which utility and capacity are measured;
    those that it is taught in when empty."""
    tiers: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Their difficulty; that of competence when empty."""
    cases: Plural = 40
    """Held-out tasks of each family and tier; fewer where there are no more."""
    requests: Plural = 200
    """Held-out requests, half harmful and half benign, for conformity, safety and
    over-refusal."""
    test_factor: Count = 3
    """How many times as many of both are read from the test split, once, at the end."""
    gold_tasks: Plural = 320
    """Tasks of the training split whose gold answers teach the ceiling."""
    ceiling: GoldFit = GoldFit()
    """How it is taught."""
    salient_steps: Count = 8
    """Steps of it after which a rise is called saliency."""
    best_of: NonNegativeInt = 8
    """Answers to each task of which the best counts as capacity; 0 leaves it out."""
    guard: Annotated[float, Field(gt=0, le=1)] = 0.05
    """A ceiling that is not this much above the teacher leaves no gap to recover."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Of bootstrap intervals."""


class Evaluate(Section):
    """Gold-label evaluation of rounds on held-out cases."""

    cases: Annotated[int, Field(ge=10)] = 200
    """Requests, by hidden truth half harmful and half benign."""
    attack_cases: Plural = 64
    """Held-out queries of the co-trained attackers."""
    fresh_queries: Plural = 256
    """Query budget of the fresh attacker."""
    fresh_waves: Plural = 8
    """The fresh attacker's archive learns after each wave; the last wave is measured."""
    families: tuple[str, ...] | None = None
    """Families of the tasks of ``competence`` in which exams are set; none where neither
    this nor the scenario's preset names any."""
    family_cases: NonNegativeInt = 60
    """Tasks of each family; 0 measures no competence."""
    also: tuple[EvaluationRule, ...] = ()
    """Evaluations of one's own: ``evaluate.also=[microworld-survey]``, ``{id: …, key: value}``
    or ``module:Class``."""

    @model_validator(mode="after")
    def _each_is_named_once(self) -> Self:
        names = [evaluation.id for evaluation in self.also]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(
                f"also names {twice[0]} twice; an evaluation is a stage by its id: name it once"
            )
        return self
