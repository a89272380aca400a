"""REINFORCE with one baseline per role.

The baseline is an exponential moving average of each role's pay, kept in the policy: no
value function, no groups, one step on each batch of episodes. In zero-sum self-play it
keeps a role that starts ahead from being rewarded for its seat (SPIRAL, arXiv 2506.24119).
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_training.algorithms.algorithm import LearnsFrom, OnStep, RefPolicy
from superalign_training.data import Experience
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


class Reinforce(Section):
    """REINFORCE with a running mean of each role's reward as baseline."""

    learns_from: ClassVar[LearnsFrom] = "episodes"
    weighs_stored: ClassVar[bool] = True
    id: Literal["reinforce"] = "reinforce"
    steps: Count = 20
    """Optimiser steps, each on episodes of the newest policy."""
    batch_size: Count = 32
    """Different cases in one step."""
    num_generations: Count = 1
    """Plays of each case."""
    fork: bool = False
    """Whether members share everything up to the learner's first view."""
    micro_batch_size: Count | None = None
    """Rows that go through the model at once; None is all of a step."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of AdamW."""
    lr_schedule: Schedule = CONSTANT
    """How the learning rate changes over the policy's life."""
    ent_coef: NonNegativeFloat = 0.0
    """Weight of the entropy bonus."""
    kl_coef: NonNegativeFloat = 0.1
    """Weight of the KL to the reference policy."""
    ref_policy: RefPolicy = "round"
    """Reference policy: the one that the call began with, or its untrained original."""
    max_grad_norm: PositiveFloat = 1.0
    """Norm that longer gradients are clipped to."""

    def improve(
        self,
        policy: "Policy",
        experience: Experience,
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Improve a policy and its baselines in place.

        Args:
            policy: changed in place; its optimiser and baselines go on where they stopped.
            experience: plays cases with the policy's agent as it is at that moment, or
                hands out recorded ones.
            seed: of nothing: all that is random here is the play.
            on_step: called after every optimiser step.

        Returns:
            ``reward_first`` and ``reward`` (of an episode, over the first and last tenth),
            ``baseline``, ``frac_reward_zero_std`` (share of steps in which all were paid
            alike), ``policy_loss``, ``kl``, ``entropy``, ``loss``, ``grad_norm``,
            ``learning_rate``, ``cases`` played.

        Raises:
            InvalidOption: nothing to learn from, or pay that is no number.
            OutOfMemory: a single row does not fit into memory.
        """
        from superalign_training.algorithms.reinforce_update import improve  # noqa: PLC0415 - torch takes seconds

        return improve(self, policy, experience, on_step=on_step)
