"""How long and how fast something is taught."""

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_training.sections import Count, Section


class Course(Section):
    """So many steps, at a rate that falls linearly from the first to after the last."""

    steps: Count
    rate: PositiveFloat
    to: NonNegativeFloat = 0.0
    batch: Count = 256

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.rate + (self.to - self.rate) * step / self.steps
