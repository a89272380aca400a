"""Rollouts, minibatches and losses of proximal policy optimisation."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from superalign_env.store import declare
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.updates.advantages import GUARD
from superalign_training.algorithms.updates.cases import Cases, nothing_differs, totals
from superalign_training.algorithms.updates.credit import (
    gae_of_rows,
    log_ratios,
    must_weigh,
)
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
from superalign_training.algorithms.updates.ref_policy import ref_model
from superalign_training.data import Experience, Row
from superalign_training.policy import Policy

declare("train/epochs", "Passes over a rollout")


class Rollout(NamedTuple):
    """Batch of one PPO step. Shapes: B rows, C positions of the longest completion."""

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


def fit(
    settings: Ppo,
    policy: Policy,
    experience: Experience,
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Improve a policy and its value function in place; see `Ppo.improve`."""
    cases, history = Cases(experience, policy), History(on_step)
    micro = MicroBatch(settings.micro_batch_size)
    ref = ref_model(policy, settings.ref_policy) if settings.kl_coef else None
    order = torch.Generator().manual_seed(policy.seed(seed))
    _ = policy.value_head  # is there before the optimiser, which must know its weights
    with policy.training(dropout=False):
        optimizer = PolicyOptimizer(
            policy,
            learning_rate=settings.learning_rate,
            lr_schedule=settings.lr_schedule,
            value_learning_rate=settings.value_learning_rate,
            max_grad_norm=settings.max_grad_norm,
            micro=micro,
        )
        for _ in range(settings.steps):
            rows = cases.rows(settings.batch_size)
            pay = totals(rows)
            zero_std = nothing_differs(rows)
            numbers: dict[str, float] = {}
            if not zero_std or settings.kl_coef or settings.ent_coef:
                before = compute_old_logprobs(
                    policy, rows, ref=ref, values=True, micro=micro
                )
                rollout = _rollout(settings, rows, before, cap=experience.cap)
                usable = _without_advantages(rollout) if zero_std else rollout
                numbers = _learn(settings, policy, usable, optimizer, order=order)
                numbers |= rollout.explained()
            numbers |= {"reward": sum(pay) / len(pay)}
            history.add({**numbers, "frac_reward_zero_std": float(zero_std)})
    return {"cases": float(cases.played), **history.outcome()}


def _rollout(
    settings: Ppo, rows: Sequence[Row], before: OldLogprobs, *, cap: float | None
) -> Rollout:
    """Return advantages and returns of a rollout.

    A difference that a late answer makes was not expected: it is credited as it is, and no
    value is learned from it.
    """
    values = before.values.tolist()
    late = [place for place, row in enumerate(rows) if row.origin == "late"]
    for place in late:
        values[place] = [0.0] * len(values[place])
    ratios = None
    if must_weigh(rows, cap):
        ratios = log_ratios(rows, before.old_logprobs.tolist())
    estimates = gae_of_rows(
        rows,
        values,
        level=settings.gae_level,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        log_ratios=ratios,
        cap=cap or 1.0,
    )
    advantages, returns, starts = [before.batch.spread(numbers) for numbers in estimates]
    starts[late] = 0.0
    if settings.normalize_advantage:
        advantages = standardised(advantages, starts, late) * before.batch.loss_mask
    return Rollout(before, advantages, returns, starts)


def _learn(
    settings: Ppo,
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
    while epoch < settings.update_epochs:
        epoch += 1
        parts = torch.randperm(rows, generator=order).tensor_split(
            min(settings.num_minibatches, rows)
        )
        latest = [
            optimizer.step(len(places), _loss_of(settings, policy, rollout.rows(places)))
            for places in parts
        ]
        reports += latest
        approx_kl = sum(report["approx_kl"] for report in latest) / len(latest)
        if settings.target_kl is not None and approx_kl > settings.target_kl:
            break
    means = {n: sum(r[n] for r in reports) / len(reports) for n in reports[0]}
    return {**means, "epochs": float(epoch)}


def _loss_of(settings: Ppo, policy: Policy, minibatch: Rollout) -> Loss:
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

        surrogate = clipped_surrogate(new, old, advantages, settings.clip_range)
        errors = clipped_value_loss(values, old_values, returns, settings.clip_range_vf)
        shares = {
            "policy_loss": over_tokens(surrogate),
            "value_loss": (errors * starts).sum() / decisions,
            "kl": over_tokens(k3(new, ref)),
            "entropy": over_tokens(entropies),
            "approx_kl": over_tokens(k3(old, new)),
            "clip_fraction": over_tokens(clipped(new, old, settings.clip_range)),
        }
        total = (
            shares["policy_loss"]
            + settings.vf_coef * shares["value_loss"]
            + settings.kl_coef * shares["kl"]
            - settings.ent_coef * shares["entropy"]
        )
        return total, {name: share.item() for name, share in shares.items()}

    return loss


def standardised(
    advantages: torch.Tensor, starts: torch.Tensor, late: Sequence[int] = ()
) -> torch.Tensor:
    """Return advantages with mean 0 and deviation 1 over the decisions, each counted once.

    Args:
        advantages: [B, C].
        starts: [B, C] 1.0 where a decision begins.
        late: rows whose advantages are scaled and not shifted.
    """
    counted = advantages[starts.bool()]
    if not len(counted):
        return advantages
    deviation = counted.std() if len(counted) > 1 else torch.tensor(0.0)
    scaled = (advantages - counted.mean()) / (deviation + GUARD)
    if late:
        # Where all that was played earned alike there is no deviation to measure in.
        unit = deviation if deviation > GUARD else torch.ones_like(deviation)
        scaled[late] = advantages[late] / (unit + GUARD)
    return scaled


def _without_advantages(rollout: Rollout) -> Rollout:
    """Return a rollout in which nothing is better than anything else."""
    zeros = torch.zeros_like(rollout.advantages)
    return rollout._replace(advantages=zeros, starts=zeros)
