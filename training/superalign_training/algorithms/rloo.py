"""REINFORCE with a leave-one-out baseline, on environment rewards (arXiv 2402.14740).

The baseline of each play is the mean of the *other* plays of its case: unbiased, and not
scaled, so that cases in which much is at stake count for more. TRL's RLOOTrainer takes no
episodes, so this is TRL's GRPOTrainer with other advantages.
"""

from collections.abc import Sequence
from typing import Literal

from superalign_training.algorithms.advantages import leave_one_out
from superalign_training.algorithms.grpo import GroupAlgorithm


class Rloo(GroupAlgorithm):
    """REINFORCE with a leave-one-out baseline."""

    id: Literal["rloo"] = "rloo"

    def advantages(self, pay: Sequence[float]) -> list[float]:
        """Return pay minus the mean pay of the other plays of its group."""
        return leave_one_out(pay)
