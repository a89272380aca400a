"""The update of REINFORCE: reward-to-go above a running mean of each role, one step."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from superalign_env.store import declare
from superalign_env.types import role_of
from superalign_training.algorithms.advantages import (
    by_turn,
    importance_weighted,
    is_off_policy,
    log_ratios,
)
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.logprobs import OldLogprobs, token_logprobs
from superalign_training.algorithms.losses import k3
from superalign_training.algorithms.policy_gradient import (
    Loss,
    PolicyOptimizer,
    train_on_rollouts,
)
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.data import Experience, Row
from superalign_training.policy import Policy
from superalign_training.policy.baselines import Baselines

declare("train/baseline", "Baseline: mean reward of the role so far")


def improve(
    settings: Reinforce, policy: Policy, experience: Experience, *, on_step: OnStep | None
) -> dict[str, float]:
    """Improve a policy and its baselines in place; see `Reinforce.improve`."""

    def update(
        rows: Sequence[Row], old: OldLogprobs, optimizer: PolicyOptimizer, *, zero_std: bool
    ) -> dict[str, float]:
        advantages = _advantages(rows, policy.baselines, old, cap=experience.cap)
        if zero_std:
            advantages = [[0.0] * len(row.turns) for row in rows]
        loss = _loss_of(settings, policy, old, by_turn(rows, advantages))
        return optimizer.step(len(rows), loss)

    def after(rows: Sequence[Row]) -> dict[str, float]:
        baseline = policy.baselines.of(role_of(rows[0].seat))
        update_baselines(rows, policy.baselines)
        return {"baseline": baseline}

    return train_on_rollouts(
        settings, policy, experience, update, on_step=on_step, after=after
    )


def _advantages(
    rows: Sequence[Row], baselines: Baselines, old: OldLogprobs, *, cap: float | None
) -> list[list[float]]:
    """Return the advantage of every turn of every row."""
    advantages = above_baseline(rows, baselines)
    if cap is None or not is_off_policy(rows, cap):
        return advantages
    ratios = log_ratios(rows, old.old_logprobs.tolist())
    return importance_weighted(rows, advantages, ratios, cap)


def _loss_of(
    settings: Reinforce,
    policy: Policy,
    old: OldLogprobs,
    advantages: Sequence[Sequence[float]],
) -> Loss:
    """Return the loss of a step, as a sum over rows."""
    batch_of_step = old.batch
    tokens = batch_of_step.loss_mask.sum()
    spread = batch_of_step.spread(advantages)
    temperature = policy.agent.temperature or 1.0

    def loss(places: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        batch, _, _, ref = old.rows(places)
        logprobs, entropies = token_logprobs(policy.model, batch, temperature)

        def over_tokens(numbers: torch.Tensor) -> torch.Tensor:
            return (numbers * batch.loss_mask).sum() / tokens

        shares = {
            "policy_loss": over_tokens(-spread[places] * logprobs),
            "kl": over_tokens(k3(logprobs, ref)),
            "entropy": over_tokens(entropies),
        }
        total = (
            shares["policy_loss"]
            + settings.kl_coef * shares["kl"]
            - settings.ent_coef * shares["entropy"]
        )
        return total, {name: share.item() for name, share in shares.items()}

    return loss


def above_baseline(rows: Sequence[Row], baselines: Baselines) -> list[list[float]]:
    """Return the reward-to-go of every turn minus the baseline of its role.

    The difference that a late answer makes has no baseline.
    """
    expected = [
        0.0 if row.origin == "late" else baselines.of(role_of(row.seat)) for row in rows
    ]
    return [
        [pay - baseline for pay in row.turns_to_go]
        for row, baseline in zip(rows, expected, strict=True)
    ]


def update_baselines(rows: Sequence[Row], baselines: Baselines) -> None:
    """Update the baselines of all roles with the reward-to-go of every turn.

    Only after a step: a baseline that knew the batch would bias its advantages.
    """
    earned: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.origin != "late":
            earned[role_of(row.seat)] += row.turns_to_go
    for role, pay in earned.items():
        baselines.take(role, pay)
