"""How far the next generation may be above the last: levels, and who chooses them."""

from superalign_training.gap.controller import GapController
from superalign_training.gap.making import GapRule, make_controller
from superalign_training.gap.sight import Sight

__all__ = ["GapController", "GapRule", "Sight", "make_controller"]
