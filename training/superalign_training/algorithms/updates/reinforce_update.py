"""Advantages above a running mean, and the loss of REINFORCE."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from superalign_env.store import declare
from superalign_env.types import role_of
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.updates.cases import Cases, nothing_differs, totals
from superalign_training.algorithms.updates.credit import (
    by_turn,
    log_ratios,
    must_weigh,
    weighed,
)
from superalign_training.algorithms.updates.likelihood import likelihood
from superalign_training.algorithms.updates.losses import k3
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
from superalign_training.policy.baselines import Baselines

declare("train/baseline", "Baseline: what the role usually earns")


def fit(
    settings: Reinforce,
    policy: Policy,
    experience: Experience,
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Improve a policy and its baselines in place; see `Reinforce.improve`."""
    cases, history = Cases(experience, policy), History(on_step)
    micro = MicroBatch(settings.micro_batch_size)
    ref = ref_model(policy, settings.ref_policy) if settings.kl_coef else None
    with policy.training(dropout=False):
        optimizer = PolicyOptimizer(
            policy,
            learning_rate=settings.learning_rate,
            lr_schedule=settings.lr_schedule,
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
                    policy, rows, ref=ref, values=False, micro=micro
                )
                advantages = _advantages(settings, policy, rows, before, cap=experience.cap)
                if zero_std:
                    advantages = [[0.0] * len(row.turns) for row in rows]
                loss = _loss_of(settings, policy, before, by_turn(rows, advantages))
                numbers = optimizer.step(len(rows), loss)
            usual = policy.baselines.of(role_of(rows[0].seat))
            take_in(rows, policy.baselines)
            numbers |= {"reward": sum(pay) / len(pay), "baseline": usual}
            history.add({**numbers, "frac_reward_zero_std": float(zero_std)})
    return {"cases": float(cases.played), **history.outcome()}


def _advantages(
    settings: Reinforce,
    policy: Policy,
    rows: Sequence[Row],
    before: OldLogprobs,
    *,
    cap: float | None,
) -> list[list[float]]:
    """Return the advantage of every turn of every row."""
    advantages = surpluses(rows, policy.baselines)
    if cap is None or not must_weigh(rows, cap):
        return advantages
    return weighed(rows, advantages, log_ratios(rows, before.old_logprobs.tolist()), cap)


def _loss_of(
    settings: Reinforce,
    policy: Policy,
    before: OldLogprobs,
    advantages: Sequence[Sequence[float]],
) -> Loss:
    """Return the loss of a step, as the sum of its rows' shares."""
    whole = before.batch
    tokens = whole.loss_mask.sum()
    spread = whole.spread(advantages)
    temperature = policy.agent.temperature or 1.0

    def loss(places: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        batch, _, _, ref = before.rows(places)
        new, entropies = likelihood(policy.model, batch, temperature)

        def over_tokens(numbers: torch.Tensor) -> torch.Tensor:
            return (numbers * batch.loss_mask).sum() / tokens

        shares = {
            "policy_loss": over_tokens(-spread[places] * new),
            "kl": over_tokens(k3(new, ref)),
            "entropy": over_tokens(entropies),
        }
        total = (
            shares["policy_loss"]
            + settings.kl_coef * shares["kl"]
            - settings.ent_coef * shares["entropy"]
        )
        return total, {name: share.item() for name, share in shares.items()}

    return loss


def surpluses(rows: Sequence[Row], baselines: Baselines) -> list[list[float]]:
    """Return what every turn earned from then on, above what its role usually earns.

    A difference that a late answer makes is a surplus already.
    """
    usual = [
        0.0 if row.origin == "late" else baselines.of(role_of(row.seat)) for row in rows
    ]
    return [
        [pay - expected for pay in row.turns_to_go]
        for row, expected in zip(rows, usual, strict=True)
    ]


def take_in(rows: Sequence[Row], baselines: Baselines) -> None:
    """Let the baselines of all roles take in what was earned, from every turn on.

    Only after a step: a baseline that knew the batch would bias its advantages.
    """
    earned: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.origin != "late":
            earned[role_of(row.seat)] += row.turns_to_go
    for role, pay in earned.items():
        baselines.take(role, pay)
