"""Schedules of the learning rate over a policy's life."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from superalign_training.sections import Section, Share


class Schedule(Section):
    """A factor on the learning rate, by the number of optimiser steps so far.

    The count belongs to the policy and is saved with it, so a schedule goes on across
    rounds, checkpoints and kills.
    """

    kind: Literal["constant", "linear", "cosine"] = "constant"
    """What follows the warm-up."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps over which the factor rises from 0 to 1."""
    steps: Annotated[int, Field(ge=0)] = 0
    """Step at which a decay has arrived at `floor`; unused if constant."""
    floor: Share = 0.0
    """The factor at the end of a decay."""

    @model_validator(mode="after")
    def _has_room_to_decay(self) -> Self:
        if self.kind != "constant" and self.steps <= self.warmup:
            raise ValueError(
                f"a {self.kind} schedule decays until `steps`, which must be above warmup="
                f"{self.warmup}; it is {self.steps}"
            )
        return self

    def factor(self, step: int) -> float:
        """Return the factor for the step after so many steps.

        Args:
            step: optimiser steps taken before.
        """
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        if self.kind == "constant":
            return 1.0
        way = min(1.0, (step - self.warmup) / (self.steps - self.warmup))
        if self.kind == "cosine":
            way = (1 - math.cos(math.pi * way)) / 2
        return 1 - (1 - self.floor) * way


CONSTANT = Schedule()
