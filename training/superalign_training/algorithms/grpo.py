"""Group-relative policy optimisation on environment rewards (TRL's GRPOTrainer).

Whole episodes are played in the place of the trainer's own generation; it gets recorded
ids, a mask that hides what the environment said, and advantages of the settled pay. What
was left out: a value function, more than one step on the same episodes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_training.algorithms.advantages import group_relative
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep, RefPolicy
from superalign_training.data import Experience
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Plural, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


class GroupAlgorithm(Section):
    """Policy gradient on groups: advantages compare the episodes of one case."""

    learns_from: ClassVar[LearnsFrom] = "episodes"
    weighs_stored: ClassVar[bool] = True
    steps: Count = 20
    """Optimiser steps, each on episodes of the newest policy."""
    batch_size: Count = 32
    """Different cases in one step."""
    num_generations: Plural = 4
    """Plays of each case: the group whose mean is the baseline."""
    fork: bool = True
    """Whether members share everything up to the learner's first view."""
    micro_batch_size: Count | None = None
    """Rows that go through the model at once; None is all of a step."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of AdamW."""
    lr_schedule: Schedule = CONSTANT
    """How the learning rate changes over the policy's life."""
    beta: NonNegativeFloat = 0.1
    """Weight of the KL to the reference policy: without it a tiny policy is sure of
    everything before it has learned anything."""
    ref_policy: RefPolicy = "round"
    """Reference policy: the one that the call began with, or its untrained original."""

    def advantages(self, pay: Sequence[float]) -> list[float]:
        """Return the advantage of each episode of a group."""
        raise AssertionError(f"{type(self).__name__} compares no plays")

    def improve(
        self,
        policy: "Policy",
        experience: Experience,
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Improve a policy in place by the rewards of episodes, compared within groups.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: plays cases with the policy's agent as it is at that moment, or
                hands out recorded ones.
            seed: mixed with what the policy has been through.
            on_step: called after every optimiser step.

        Returns:
            ``reward_first`` and ``reward`` (means over the first and last tenth),
            ``loss``, ``kl``, ``entropy``, ``frac_reward_zero_std`` (share of groups without
            any difference in pay), ``cases`` played, ``groups`` (share of them that all members had a
            turn in).

        Raises:
            InvalidOption: nothing to learn from, or pay that is no number.
            OutOfMemory: a single row does not fit into memory.
        """
        from superalign_training.algorithms.group_trainer import (  # noqa: PLC0415 - torch takes seconds
            learn_from_groups,
        )

        return learn_from_groups(
            policy, experience, self, score=self.advantages, seed=seed, on_step=on_step
        )


class Grpo(GroupAlgorithm):
    """Group-relative policy optimisation on rewards of episodes."""

    id: Literal["grpo"] = "grpo"

    def advantages(self, pay: Sequence[float]) -> list[float]:
        """Return pay minus the mean of its group, in standard deviations."""
        return group_relative(pay)
