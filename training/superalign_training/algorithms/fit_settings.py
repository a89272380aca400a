"""Settings of a supervised fit."""

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_training.sections import Count, Section


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
