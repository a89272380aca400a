"""REINFORCE with a leave-one-out baseline, on environment rewards (arXiv 2402.14740).

The baseline of each play is the mean of the *other* plays of its case: unbiased, and not
scaled, so that cases in which much is at stake count for more. TRL's RLOOTrainer takes no
episodes, so this is TRL's GRPOTrainer with other advantages.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from superalign_training.algorithms.algorithm import LearnsFrom, OnStep
from superalign_training.algorithms.grpo import GroupSettings
from superalign_training.data import Experience

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


class Rloo(GroupSettings):
    """REINFORCE, each play measured against the mean of the others."""

    learns_from: ClassVar[LearnsFrom] = "episodes"
    id: Literal["rloo"] = "rloo"

    def improve(
        self,
        policy: "Policy",
        experience: Experience,
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Improve a policy in place by the rewards of episodes, against those of the others.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: plays cases with the policy's agent as it is at that moment, or
                hands out recorded ones.
            seed: mixed with what the policy has been through.
            on_step: called after every optimiser step.

        Returns:
            As `Grpo.improve`.

        Raises:
            InvalidOption: nothing to learn from, or pay that is no number.
            OutOfMemory: a single row does not fit into memory.
        """
        from superalign_training.algorithms.advantages import leave_one_out  # noqa: PLC0415 - as above
        from superalign_training.algorithms.group_trainer import (  # noqa: PLC0415 - torch takes seconds
            learn_from_groups,
        )

        return learn_from_groups(
            policy, experience, self, score=leave_one_out, seed=seed, on_step=on_step
        )
