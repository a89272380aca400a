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
from superalign_training.algorithms.trainers.former_self import Anchor
from superalign_training.algorithms.updates.anchor import anchor_of
from superalign_training.algorithms.updates.cases import Cases, nothing_differs, totals
from superalign_training.algorithms.updates.credit import (
    by_turn,
    log_ratios,
    must_weigh,
    weighed,
)
from superalign_training.algorithms.updates.descent import Descent, Loss
from superalign_training.algorithms.updates.hindsight import Hindsight, look_back
from superalign_training.algorithms.updates.history import History
from superalign_training.algorithms.updates.likelihood import likelihood
from superalign_training.algorithms.updates.losses import k3
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.experience import Experience, Row
from superalign_training.policy import Policy
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Section

declare("train/baseline", "Baseline: what the role usually earns")


class Reinforce(Section):
    """REINFORCE against a running mean of what the role earns."""

    learns_from: ClassVar[LearnsFrom] = "episodes"
    weighs_stored: ClassVar[bool] = True
    id: Literal["reinforce"] = "reinforce"
    steps: Count = 20
    """Optimiser steps, each on episodes of the newest policy."""
    cases: Count = 32
    """Different cases in one step."""
    members: Count = 1
    """Plays of each case."""
    fork: bool = False
    """Whether members share everything up to the learner's first view."""
    micro_batch: Count | None = None
    """Rows that go through the model at once; None is all of a step."""
    rate: PositiveFloat = 1e-3
    """Learning rate of AdamW."""
    schedule: Schedule = CONSTANT
    """How the rate changes over the policy's life."""
    entropy: NonNegativeFloat = 0.0
    """Weight of the bonus for being unsure."""
    kl: NonNegativeFloat = 0.1
    """Weight of the divergence from what the policy is held to."""
    anchor: Anchor = "round"
    """What it is held to: the policy that the call began with, or its untrained original."""
    max_norm: PositiveFloat = 1.0
    """Longer gradients are shortened to this."""

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
        micro = MicroBatch(self.micro_batch)
        anchor = anchor_of(policy, self.anchor) if self.kl else None
        with policy.training(dropout=False):
            descent = Descent(
                policy,
                rate=self.rate,
                schedule=self.schedule,
                max_norm=self.max_norm,
                micro=micro,
            )
            for _ in range(self.steps):
                rows = cases.rows(self.cases)
                pay = totals(rows)
                flat = nothing_differs(rows)
                numbers: dict[str, float] = {}
                if not flat or self.kl or self.entropy:
                    before = look_back(
                        policy, rows, anchor=anchor, valued=False, micro=micro
                    )
                    merits = self._merits(policy, rows, before, cap=experience.cap)
                    if flat:
                        merits = [[0.0] * len(row.turns) for row in rows]
                    loss = self._loss_of(policy, before, by_turn(rows, merits))
                    numbers = descent.step(len(rows), loss)
                usual = policy.baselines.of(role_of(rows[0].seat))
                take_in(rows, policy.baselines)
                numbers |= {"reward": sum(pay) / len(pay), "baseline": usual}
                history.add({**numbers, "frac_reward_zero_std": float(flat)})
        return {"cases": float(cases.played), **history.outcome()}

    def _merits(
        self, policy: Policy, rows: Sequence[Row], before: Hindsight, *, cap: float | None
    ) -> list[list[float]]:
        """Return what every turn of every row deserves."""
        merits = surpluses(rows, policy.baselines)
        if cap is None or not must_weigh(rows, cap):
            return merits
        return weighed(rows, merits, log_ratios(rows, before.logprobs.tolist()), cap)

    def _loss_of(
        self, policy: Policy, before: Hindsight, merits: Sequence[Sequence[float]]
    ) -> Loss:
        """Return the loss of a step, as the sum of its rows' shares."""
        whole = before.batch
        tokens = whole.loss_mask.sum()
        advantages = whole.spread(merits)
        temperature = policy.agent.temperature or 1.0

        def loss(places: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            batch, _, _, anchored = before.rows(places)
            new, entropies = likelihood(policy.model, batch, temperature)

            def over_tokens(numbers: torch.Tensor) -> torch.Tensor:
                return (numbers * batch.loss_mask).sum() / tokens

            shares = {
                "policy_loss": over_tokens(-advantages[places] * new),
                "kl": over_tokens(k3(new, anchored)),
                "entropy": over_tokens(entropies),
            }
            total = (
                shares["policy_loss"]
                + self.kl * shares["kl"]
                - self.entropy * shares["entropy"]
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
