"""REINFORCE with role baselines: what a role usually earns is what was to be expected.

The baseline is an exponential moving average of each role's pay, kept in the policy: no
value function, no groups, one step on each batch of episodes. In zero-sum self-play it
keeps a role that starts ahead from being rewarded for its seat (SPIRAL, arXiv 2506.24119).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat

from superalign_env.store import declare
from superalign_env.types import role_of
from superalign_training.algorithms.algorithm import LearnsFrom
from superalign_training.algorithms.trainers.arguments import OnStep
from superalign_training.algorithms.updates.cases import Cases, is_zero_std, totals
from superalign_training.algorithms.updates.credit import by_turn, log_ratios, weighed
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
from superalign_training.algorithms.updates.ref_policy import RefPolicy, ref_model
from superalign_training.experience import Experience, Row
from superalign_training.policy import Policy
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Section

declare("train/baseline", "Baseline: what the role usually earns")


class Reinforce(Section):
    """REINFORCE against a running mean of what the role earns."""

    learns_from: ClassVar[LearnsFrom] = "episodes"
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
        policy: Policy,
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
        cases, history = Cases(experience, policy), History(on_step)
        micro = MicroBatch(self.micro_batch_size)
        ref = ref_model(policy, self.ref_policy) if self.kl_coef else None
        with policy.training(dropout=False):
            optimizer = PolicyOptimizer(
                policy,
                learning_rate=self.learning_rate,
                lr_schedule=self.lr_schedule,
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
                        policy, rows, ref=ref, values=False, micro=micro
                    )
                    advantages = self._advantages(policy, rows, before, cap=experience.cap)
                    if zero_std:
                        advantages = [[0.0] * len(row.turns) for row in rows]
                    loss = self._loss_of(policy, before, by_turn(rows, advantages))
                    numbers = optimizer.step(len(rows), loss)
                usual = policy.baselines.of(role_of(rows[0].seat))
                take_in(rows, policy.baselines)
                numbers |= {"reward": sum(pay) / len(pay), "baseline": usual}
                history.add({**numbers, "frac_reward_zero_std": float(zero_std)})
        return {"cases": float(cases.played), **history.outcome()}

    def _advantages(
        self, policy: Policy, rows: Sequence[Row], before: OldLogprobs, *, cap: float | None
    ) -> list[list[float]]:
        """Return the advantage of every turn of every row."""
        advantages = surpluses(rows, policy.baselines)
        if cap is None:
            return advantages
        return weighed(
            rows, advantages, log_ratios(rows, before.old_logprobs.tolist()), cap
        )

    def _loss_of(
        self, policy: Policy, before: OldLogprobs, advantages: Sequence[Sequence[float]]
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
                + self.kl_coef * shares["kl"]
                - self.ent_coef * shares["entropy"]
            )
            return total, {name: share.item() for name, share in shares.items()}

        return loss


def surpluses(rows: Sequence[Row], baselines: Baselines) -> list[list[float]]:
    """Return what every turn earned from then on, above what its role usually earns."""
    return [
        [pay - baselines.of(role_of(row.seat)) for pay in row.turns_to_go] for row in rows
    ]


def take_in(rows: Sequence[Row], baselines: Baselines) -> None:
    """Let the baselines of all roles take in what was earned, from every turn on.

    Only after a step: a baseline that knew the batch would bias its advantages.
    """
    earned: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        earned[role_of(row.seat)] += row.turns_to_go
    for role, pay in earned.items():
        baselines.take(role, pay)
