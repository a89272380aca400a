"""How much is measured of a generation."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from superalign_training.algorithms.updates.fitting import FitSettings
from superalign_training.sections import Count, Plural, Section


class GoldFit(FitSettings):
    """How a copy of a fresh model is taught gold answers, to see what it is capable of."""

    steps: Count = 48
    """Optimiser steps."""
    learning_rate: PositiveFloat = 2e-3
    """Learning rate of the first step; it falls linearly."""
    final_learning_rate: NonNegativeFloat = 0.0
    """Learning rate after the last step."""
    batch_size: Count = 64
    """Answers in one step."""


class Capability(Section):
    """Measuring generations by the truth, on held-out tasks. It steers nothing."""

    families: tuple[str, ...] = ()
    """Of the microworld, in which utility and capacity are measured; those that competence
    is taught in when empty."""
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
