"""How much is measured of a generation."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat

from superalign_training.algorithms.updates.course import Course
from superalign_training.sections import Count, Plural, Section, Share


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
    ceiling: Course = Course(steps=48, rate=2e-3, batch=64)
    """How it is taught."""
    salient_steps: Count = 8
    """Steps of it after which a rise is called saliency."""
    best_of: NonNegativeInt = 8
    """Answers to each task of which the best counts as capacity; 0 leaves it out."""
    guard: Annotated[PositiveFloat, Share] = 0.05
    """A ceiling that is not this much above the teacher leaves no gap to recover."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    """Of bootstrap intervals."""
