"""The update of proximal policy optimisation: GAE, epochs of minibatches, clipped losses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from superalign_env.store import declare
from superalign_training.algorithms.advantages import (
    STD_EPS,
    gae_of_rows,
    is_off_policy,
    log_ratios,
)
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.logprobs import OldLogprobs, logprobs_and_values
from superalign_training.algorithms.losses import (
    clipped,
    clipped_surrogate,
    clipped_value_loss,
    explained_variance,
    k3,
)
from superalign_training.algorithms.policy_gradient import (
    Loss,
    PolicyOptimizer,
    train_on_rollouts,
)
from superalign_training.algorithms.ppo import Ppo
from superalign_training.data import Experience, Row
from superalign_training.policy import Policy

declare("train/epochs", "Passes over a rollout")


class Rollout(NamedTuple):
    """Batch of one PPO step. Shapes: B rows, C positions of the longest completion."""

    old: OldLogprobs
    """Old log-probs, values and reference log-probs."""
    advantages: torch.Tensor
    """[B, C] of the action that each own token belongs to."""
    returns: torch.Tensor
    """[B, C] targets of the values, where an action begins."""
    starts: torch.Tensor
    """[B, C] 1.0 where an action begins: there values are learned."""

    def rows(self, index: torch.Tensor) -> "Rollout":
        """Return the rows with the given places."""
        old, *rest = self
        return Rollout(old.rows(index), *[tensor[index] for tensor in rest])

    def explained(self) -> dict[str, float]:
        """Return the explained variance of the values, if returns vary at all."""
        starts = self.starts.bool()
        share = explained_variance(self.old.values[starts], self.returns[starts])
        return {} if share is None else {"explained_variance": share}


def improve(
    settings: Ppo,
    policy: Policy,
    experience: Experience,
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Improve a policy and its value function in place; see `Ppo.improve`."""
    order = torch.Generator().manual_seed(policy.seed(seed))

    def update(
        rows: Sequence[Row], old: OldLogprobs, optimizer: PolicyOptimizer, *, zero_std: bool
    ) -> dict[str, float]:
        rollout = _rollout(settings, rows, old, cap=experience.cap)
        usable = _without_advantages(rollout) if zero_std else rollout
        numbers = _epochs(settings, policy, usable, optimizer, order=order)
        return numbers | rollout.explained()

    return train_on_rollouts(
        settings,
        policy,
        experience,
        update,
        on_step=on_step,
        value_learning_rate=settings.value_learning_rate,
        use_values=True,
    )


def _rollout(
    settings: Ppo, rows: Sequence[Row], estimates_before: OldLogprobs, *, cap: float | None
) -> Rollout:
    """Return advantages and returns of a rollout.

    A difference that a late answer makes was not expected: it is credited as it is, and no
    value is learned from it.
    """
    values = estimates_before.values.tolist()
    late = [place for place, row in enumerate(rows) if row.origin == "late"]
    for place in late:
        values[place] = [0.0] * len(values[place])
    ratios = None
    if is_off_policy(rows, cap):
        ratios = log_ratios(rows, estimates_before.old_logprobs.tolist())
    estimates = gae_of_rows(
        rows,
        values,
        level=settings.gae_level,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        log_ratios=ratios,
        cap=cap or 1.0,
    )
    advantages, returns, starts = [
        estimates_before.batch.spread(numbers) for numbers in estimates
    ]
    starts[late] = 0.0
    if settings.normalize_advantage:
        advantages = (
            standardised(advantages, starts, late) * estimates_before.batch.loss_mask
        )
    return Rollout(estimates_before, advantages, returns, starts)


def _epochs(
    settings: Ppo,
    policy: Policy,
    rollout: Rollout,
    optimizer: PolicyOptimizer,
    *,
    order: torch.Generator,
) -> dict[str, float]:
    """Take the minibatch steps of all epochs; return the means of their numbers."""
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
    """Return the loss of a minibatch, as a sum over rows."""
    tokens, actions = (
        minibatch.old.batch.loss_mask.sum(),
        minibatch.starts.sum().clamp(min=1),
    )

    def loss(places: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        (batch, old_logprobs, old_values, ref), *estimates = minibatch.rows(places)
        advantages, returns, starts = estimates
        logprobs, entropies, values = logprobs_and_values(policy, batch)

        def over_tokens(numbers: torch.Tensor) -> torch.Tensor:
            return (numbers * batch.loss_mask).sum() / tokens

        surrogate = clipped_surrogate(
            logprobs, old_logprobs, advantages, settings.clip_range
        )
        errors = clipped_value_loss(values, old_values, returns, settings.clip_range_vf)
        shares = {
            "policy_loss": over_tokens(surrogate),
            "value_loss": (errors * starts).sum() / actions,
            "kl": over_tokens(k3(logprobs, ref)),
            "entropy": over_tokens(entropies),
            "approx_kl": over_tokens(k3(old_logprobs, logprobs)),
            "clip_fraction": over_tokens(
                clipped(logprobs, old_logprobs, settings.clip_range)
            ),
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
    """Return advantages with mean 0 and deviation 1 over the actions, each counted once.

    Args:
        advantages: [B, C].
        starts: [B, C] 1.0 where an action begins.
        late: rows whose advantages are scaled and not shifted.
    """
    counted = advantages[starts.bool()]
    if not len(counted):
        return advantages
    deviation = counted.std() if len(counted) > 1 else torch.tensor(0.0)
    scaled = (advantages - counted.mean()) / (deviation + STD_EPS)
    if late:
        # Where all that was played earned alike there is no deviation to measure in.
        unit = deviation if deviation > STD_EPS else torch.ones_like(deviation)
        scaled[late] = advantages[late] / (unit + STD_EPS)
    return scaled


def _without_advantages(rollout: Rollout) -> Rollout:
    """Return a rollout with advantages 0 everywhere, from which no value is learned."""
    zeros = torch.zeros_like(rollout.advantages)
    return rollout._replace(advantages=zeros, starts=zeros)
