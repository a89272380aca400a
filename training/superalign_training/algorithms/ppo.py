"""Proximal policy optimisation with a learned value function (arXiv 1707.06347).

A step plays episodes, values every decision, and goes over them several times in
minibatches. A decision is a turn (its value is read at the last token of its prompt, and
its advantage is shared by its tokens) or a token. TRL has no PPO any more, so this is the
whole of it. What was left out: several devices, a critic with a body of its own.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_training.algorithms.algorithm import LearnsFrom, OnStep, RefPolicy
from superalign_training.data import Experience
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Section, Share

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy


class Ppo(Section):
    """Proximal policy optimisation with a value function.

    Of two sizes `batch_size` is that of a rollout, in cases; one minibatch has a
    `num_minibatches`-th of its rows.
    """

    learns_from: ClassVar[LearnsFrom] = "episodes"
    weighs_stored: ClassVar[bool] = True
    id: Literal["ppo"] = "ppo"
    steps: Count = 20
    """Rollouts of the newest policy."""
    batch_size: Count = 32
    """Different cases in one rollout (not the rows of a minibatch)."""
    num_generations: Count = 1
    """Plays of each case."""
    fork: bool = False
    """Whether members share everything up to the learner's first view."""
    update_epochs: Count = 4
    """Passes over a rollout."""
    num_minibatches: Count = 4
    """Optimiser steps of one such pass."""
    micro_batch_size: Count | None = None
    """Rows that go through the model at once; None is a whole minibatch."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of AdamW."""
    lr_schedule: Schedule = CONSTANT
    """How the learning rate changes over the policy's life."""
    value_learning_rate: PositiveFloat | None = None
    """Of the value head; None is the same."""
    gae_level: Literal["turn", "token"] = "turn"
    """What is one decision: a turn or a token."""
    gamma: Share = 1.0
    """Discount from one decision to the next."""
    gae_lambda: Share = 0.95
    """GAE lambda: 0 trusts the values, 1 the rewards."""
    clip_range: PositiveFloat = 0.2
    """How far the probability ratio of a token may leave 1."""
    clip_range_vf: PositiveFloat | None = 0.2
    """How far a value may leave its old one; None is as far as it likes."""
    vf_coef: NonNegativeFloat = 0.5
    """Weight of the value loss."""
    ent_coef: NonNegativeFloat = 0.0
    """Weight of the entropy bonus."""
    kl_coef: NonNegativeFloat = 0.05
    """Weight of the KL to the reference policy."""
    ref_policy: RefPolicy = "round"
    """Reference policy: the one that the call began with, or its untrained original."""
    target_kl: PositiveFloat | None = None
    """No further pass over a rollout once `approx_kl` exceeds this."""
    normalize_advantage: bool = True
    """Whether advantages get mean 0 and deviation 1 over the rollout."""
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
        """Improve a policy and its value function in place.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: plays cases with the policy's agent as it is at that moment, or
                hands out recorded ones.
            seed: of the minibatches; mixed with what the policy has been through.
            on_step: called after every rollout was learned from.

        Returns:
            ``reward_first`` and ``reward`` (of an episode, over the first and last tenth),
            ``cases`` played, ``frac_reward_zero_std`` (share of rollouts in which all were
            paid alike), and means over the updates of the last rollouts: ``loss``,
            ``policy_loss``, ``value_loss``, ``kl`` (to the reference policy), ``approx_kl``
            (within a step), ``clip_fraction`` (of tokens), ``entropy``,
            ``explained_variance`` (before them), ``grad_norm``, ``learning_rate``,
            ``epochs``.

        Raises:
            InvalidOption: nothing to learn from, or pay that is no number.
            OutOfMemory: a single row does not fit into memory.
        """
        from superalign_training.algorithms.ppo_update import improve  # noqa: PLC0415 - torch takes seconds

        return improve(self, policy, experience, seed=seed, on_step=on_step)
