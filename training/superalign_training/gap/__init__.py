"""Gap controllers: how many ladder levels the next generation may be above the last."""

from superalign_training.gap.controller import (
    GapController,
    GapRule,
    GenerationStats,
    make_controller,
)

__all__ = ["GapController", "GapRule", "GenerationStats", "make_controller"]
