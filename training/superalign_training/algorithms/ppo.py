"""Proximal policy optimisation with a learned value function (arXiv 1707.06347).

A step plays episodes, values every decision, and goes over them several times in
minibatches. A decision is a turn (its value is read at the last token of its prompt, and
its advantage is shared by its tokens) or a token. TRL has no PPO any more, so this is the
whole of it. What was left out: several devices, a critic with a body of its own.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveFloat

from superalign_env.store import declare
from superalign_training.algorithms.algorithm import LearnsFrom
from superalign_training.algorithms.trainers.arguments import OnStep
from superalign_training.algorithms.updates.advantages import GUARD
from superalign_training.algorithms.updates.cases import Cases, is_zero_std, totals
from superalign_training.algorithms.updates.credit import gae_of_rows, log_ratios
from superalign_training.algorithms.updates.likelihood import evaluate
from superalign_training.algorithms.updates.losses import (
    clipped,
    clipped_surrogate,
    clipped_value_loss,
    explained_variance,
    k3,
)
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.algorithms.updates.old_logprobs import (
    OldLogprobs,
    compute_old_logprobs,
)
from superalign_training.algorithms.updates.policy_optimizer import (
    History,
    Loss,
    PolicyOptimizer,
)
from superalign_training.algorithms.updates.ref_policy import RefPolicy, ref_model
from superalign_training.experience import Experience, Row
from superalign_training.policy import Policy
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Section, Share

declare("train/epochs", "Passes over a rollout")


class Rollout(NamedTuple):
    """What one step learns from. Shapes: B rows, C positions of the longest completion."""

    before: OldLogprobs
    """Old log-probs and values."""
    advantages: torch.Tensor
    """[B, C] of the decision that each own token belongs to."""
    returns: torch.Tensor
    """[B, C] what the values should have been."""
    starts: torch.Tensor
    """[B, C] 1.0 where a decision begins: there values are learned."""

    def rows(self, index: torch.Tensor) -> "Rollout":
        """Return the rows with the given places."""
        before, *rest = self
        return Rollout(before.rows(index), *[tensor[index] for tensor in rest])

    def explained(self) -> dict[str, float]:
        """Return the explained variance of the values, if returns vary at all."""
        starts = self.starts.bool()
        share = explained_variance(self.before.values[starts], self.returns[starts])
        return {} if share is None else {"explained_variance": share}


class Ppo(Section):
    """Proximal policy optimisation with a value function.

    Of two sizes `batch_size` is that of a rollout, in cases; one minibatch has a
    `num_minibatches`-th of its rows.
    """

    learns_from: ClassVar[LearnsFrom] = "episodes"
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
        policy: Policy,
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
        cases, history = Cases(experience, policy), History(on_step)
        micro = MicroBatch(self.micro_batch_size)
        ref = ref_model(policy, self.ref_policy) if self.kl_coef else None
        order = torch.Generator().manual_seed(policy.seed(seed))
        _ = policy.value_head  # is there before the optimiser, which must know its weights
        with policy.training(dropout=False):
            optimizer = PolicyOptimizer(
                policy,
                learning_rate=self.learning_rate,
                lr_schedule=self.lr_schedule,
                value_learning_rate=self.value_learning_rate,
                max_grad_norm=self.max_grad_norm,
                micro=micro,
            )
            for _ in range(self.steps):
                rows = cases.rows(self.batch_size)
                pay = totals(rows)
                zero_std = is_zero_std(pay)
                numbers: dict[str, float] = {}
                if not zero_std or self.kl_coef or self.ent_coef:
                    before = compute_old_logprobs(
                        policy, rows, ref=ref, values=True, micro=micro
                    )
                    rollout = self._rollout(rows, before, cap=experience.cap)
                    usable = _without_advantages(rollout) if zero_std else rollout
                    numbers = self._learn(policy, usable, optimizer, order=order)
                    numbers |= rollout.explained()
                numbers |= {"reward": sum(pay) / len(pay)}
                history.add({**numbers, "frac_reward_zero_std": float(zero_std)})
        return {"cases": float(cases.played), **history.outcome()}

    def _rollout(
        self, rows: Sequence[Row], before: OldLogprobs, *, cap: float | None
    ) -> Rollout:
        """Return advantages and returns of a rollout."""
        estimates = gae_of_rows(
            rows,
            before.values.tolist(),
            level=self.gae_level,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
            log_ratios=log_ratios(rows, before.old_logprobs.tolist()) if cap else None,
            cap=cap or 1.0,
        )
        advantages, returns, starts = [
            before.batch.spread(numbers) for numbers in estimates
        ]
        if self.normalize_advantage:
            advantages = standardised(advantages, starts) * before.batch.loss_mask
        return Rollout(before, advantages, returns, starts)

    def _learn(
        self,
        policy: Policy,
        rollout: Rollout,
        optimizer: PolicyOptimizer,
        *,
        order: torch.Generator,
    ) -> dict[str, float]:
        """Go over a rollout several times; return the means of what was reported."""
        rows = len(rollout.advantages)
        reports: list[dict[str, float]] = []
        epoch = 0
        while epoch < self.update_epochs:
            epoch += 1
            parts = torch.randperm(rows, generator=order).tensor_split(
                min(self.num_minibatches, rows)
            )
            latest = [
                optimizer.step(len(places), self._loss_of(policy, rollout.rows(places)))
                for places in parts
            ]
            reports += latest
            approx_kl = sum(report["approx_kl"] for report in latest) / len(latest)
            if self.target_kl is not None and approx_kl > self.target_kl:
                break
        means = {n: sum(r[n] for r in reports) / len(reports) for n in reports[0]}
        return {**means, "epochs": float(epoch)}

    def _loss_of(self, policy: Policy, minibatch: Rollout) -> Loss:
        """Return the loss of a minibatch, as the sum of its rows' shares."""
        tokens, decisions = (
            minibatch.before.batch.loss_mask.sum(),
            minibatch.starts.sum().clamp(min=1),
        )

        def loss(places: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            (batch, old, old_values, ref), *estimates = minibatch.rows(places)
            advantages, returns, starts = estimates
            new, entropies, values = evaluate(policy, batch)

            def over_tokens(numbers: torch.Tensor) -> torch.Tensor:
                return (numbers * batch.loss_mask).sum() / tokens

            surrogate = clipped_surrogate(new, old, advantages, self.clip_range)
            errors = clipped_value_loss(values, old_values, returns, self.clip_range_vf)
            shares = {
                "policy_loss": over_tokens(surrogate),
                "value_loss": (errors * starts).sum() / decisions,
                "kl": over_tokens(k3(new, ref)),
                "entropy": over_tokens(entropies),
                "approx_kl": over_tokens(k3(old, new)),
                "clip_fraction": over_tokens(clipped(new, old, self.clip_range)),
            }
            total = (
                shares["policy_loss"]
                + self.vf_coef * shares["value_loss"]
                + self.kl_coef * shares["kl"]
                - self.ent_coef * shares["entropy"]
            )
            return total, {name: share.item() for name, share in shares.items()}

        return loss


def standardised(advantages: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
    """Return advantages with mean 0 and deviation 1 over the decisions, each counted once.

    Args:
        advantages: [B, C].
        starts: [B, C] 1.0 where a decision begins.
    """
    counted = advantages[starts.bool()]
    deviation = counted.std() if len(counted) > 1 else torch.tensor(0.0)
    return (advantages - counted.mean()) / (deviation + GUARD)


def _without_advantages(rollout: Rollout) -> Rollout:
    """Return a rollout in which nothing is better than anything else."""
    zeros = torch.zeros_like(rollout.advantages)
    return rollout._replace(advantages=zeros, starts=zeros)
