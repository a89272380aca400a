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
from superalign_training.algorithms.trainers.former_self import Anchor
from superalign_training.algorithms.updates.advantages import GUARD
from superalign_training.algorithms.updates.anchor import anchor_of
from superalign_training.algorithms.updates.cases import Cases, nothing_differs, totals
from superalign_training.algorithms.updates.credit import (
    gae_of_rows,
    log_ratios,
    must_weigh,
)
from superalign_training.algorithms.updates.descent import Descent, Loss
from superalign_training.algorithms.updates.hindsight import Hindsight, look_back
from superalign_training.algorithms.updates.history import History
from superalign_training.algorithms.updates.likelihood import evaluate
from superalign_training.algorithms.updates.losses import (
    clipped,
    clipped_surrogate,
    clipped_value_loss,
    explained_variance,
    k3,
)
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.experience import Experience, Row
from superalign_training.policy import Policy
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Section, Share

declare("train/epochs", "Passes over a rollout")


class Rollout(NamedTuple):
    """What one step learns from. Shapes: B rows, C positions of the longest completion."""

    before: Hindsight
    """What the policy thought before the step."""
    advantages: torch.Tensor
    """[B, C] of the decision that each own token belongs to."""
    targets: torch.Tensor
    """[B, C] what the values should have been."""
    decides: torch.Tensor
    """[B, C] 1.0 where a decision begins: there values are learned."""

    def rows(self, index: torch.Tensor) -> "Rollout":
        """Return the rows with the given places."""
        before, *judged = self
        return Rollout(before.rows(index), *[tensor[index] for tensor in judged])

    def predicted(self) -> dict[str, float]:
        """Return the explained variance of the values, if returns vary at all."""
        decided = self.decides.bool()
        share = explained_variance(self.before.values[decided], self.targets[decided])
        return {} if share is None else {"explained_variance": share}


class Ppo(Section):
    """Proximal policy optimisation: a value function says what pay was to be expected."""

    learns_from: ClassVar[LearnsFrom] = "episodes"
    weighs_stored: ClassVar[bool] = True
    id: Literal["ppo"] = "ppo"
    steps: Count = 20
    """Rollouts of the newest policy."""
    cases: Count = 32
    """Different cases in one rollout."""
    members: Count = 1
    """Plays of each case."""
    fork: bool = False
    """Whether members share everything up to the learner's first view."""
    epochs: Count = 4
    """How often a step goes over its rollout."""
    minibatches: Count = 4
    """Optimiser steps of one epoch."""
    micro_batch: Count | None = None
    """Rows that go through the model at once; None is a whole minibatch."""
    rate: PositiveFloat = 1e-3
    """Learning rate of AdamW."""
    schedule: Schedule = CONSTANT
    """How the rate changes over the policy's life."""
    value_rate: PositiveFloat | None = None
    """Of the value head; None is the same."""
    gae: Literal["turn", "token"] = "turn"
    """What is valued as one decision."""
    discount: Share = 1.0
    """Of what comes one decision later (gamma)."""
    trace: Share = 0.95
    """How far pay is believed rather than values (lambda)."""
    clip: PositiveFloat = 0.2
    """How far the probability ratio of a token may leave 1 in one step."""
    value_clip: PositiveFloat | None = 0.2
    """How far a value may move in one step; None is as far as it likes."""
    value_weight: NonNegativeFloat = 0.5
    """Weight of the values' error."""
    entropy: NonNegativeFloat = 0.0
    """Weight of the bonus for being unsure."""
    kl: NonNegativeFloat = 0.05
    """Weight of the divergence from what the policy is held to."""
    anchor: Anchor = "round"
    """What it is held to: the policy that the call began with, or its untrained original."""
    stop_kl: PositiveFloat | None = None
    """No further epoch once the policy has moved so far within a step."""
    normalise: bool = True
    """Whether advantages are given mean 0 and deviation 1 over the rollout."""
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
        micro = MicroBatch(self.micro_batch)
        anchor = anchor_of(policy, self.anchor) if self.kl else None
        order = torch.Generator().manual_seed(policy.seed(seed))
        _ = policy.value_head  # is there before the optimiser, which must know its weights
        with policy.training(dropout=False):
            descent = Descent(
                policy,
                rate=self.rate,
                schedule=self.schedule,
                value_rate=self.value_rate,
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
                        policy, rows, anchor=anchor, valued=True, micro=micro
                    )
                    rollout = self._judge(rows, before, cap=experience.cap)
                    moving = _unmoving(rollout) if flat else rollout
                    numbers = self._learn(policy, moving, descent, order=order)
                    numbers |= rollout.predicted()
                numbers |= {"reward": sum(pay) / len(pay)}
                history.add({**numbers, "frac_reward_zero_std": float(flat)})
        return {"cases": float(cases.played), **history.outcome()}

    def _judge(
        self, rows: Sequence[Row], before: Hindsight, *, cap: float | None
    ) -> Rollout:
        """Return what every token deserves, given what was paid and what was expected.

        A difference that a late answer makes was not expected: it is credited as it is, and
        no value is learned from it.
        """
        values = before.values.tolist()
        late = [place for place, row in enumerate(rows) if row.origin == "late"]
        for place in late:
            values[place] = [0.0] * len(values[place])
        ratios = None
        if must_weigh(rows, cap):
            ratios = log_ratios(rows, before.logprobs.tolist())
        given = gae_of_rows(
            rows,
            values,
            level=self.gae,
            gamma=self.discount,
            gae_lambda=self.trace,
            log_ratios=ratios,
            cap=cap or 1.0,
        )
        advantages, targets, decides = [before.batch.spread(numbers) for numbers in given]
        decides[late] = 0.0
        if self.normalise:
            scaled = standardised(advantages, decides, late)
            advantages = scaled * before.batch.loss_mask
        return Rollout(before, advantages, targets, decides)

    def _learn(
        self, policy: Policy, rollout: Rollout, descent: Descent, *, order: torch.Generator
    ) -> dict[str, float]:
        """Go over a rollout several times; return the means of what was reported."""
        rows = len(rollout.advantages)
        reports: list[dict[str, float]] = []
        epoch = 0
        while epoch < self.epochs:
            epoch += 1
            parts = torch.randperm(rows, generator=order).tensor_split(
                min(self.minibatches, rows)
            )
            latest = [
                descent.step(len(places), self._loss_of(policy, rollout.rows(places)))
                for places in parts
            ]
            reports += latest
            approx_kl = sum(report["approx_kl"] for report in latest) / len(latest)
            if self.stop_kl is not None and approx_kl > self.stop_kl:
                break
        means = {n: sum(r[n] for r in reports) / len(reports) for n in reports[0]}
        return {**means, "epochs": float(epoch)}

    def _loss_of(self, policy: Policy, minibatch: Rollout) -> Loss:
        """Return the loss of a minibatch, as the sum of its rows' shares."""
        tokens, decisions = (
            minibatch.before.batch.loss_mask.sum(),
            minibatch.decides.sum().clamp(min=1),
        )

        def loss(places: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
            (batch, old, old_values, anchored), *judged = minibatch.rows(places)
            advantages, targets, decides = judged
            new, entropies, values = evaluate(policy, batch)

            def over_tokens(numbers: torch.Tensor) -> torch.Tensor:
                return (numbers * batch.loss_mask).sum() / tokens

            surrogate = clipped_surrogate(new, old, advantages, self.clip)
            errors = clipped_value_loss(values, old_values, targets, self.value_clip)
            shares = {
                "policy_loss": over_tokens(surrogate),
                "value_loss": (errors * decides).sum() / decisions,
                "kl": over_tokens(k3(new, anchored)),
                "entropy": over_tokens(entropies),
                "approx_kl": over_tokens(k3(old, new)),
                "clip_fraction": over_tokens(clipped(new, old, self.clip)),
            }
            total = (
                shares["policy_loss"]
                + self.value_weight * shares["value_loss"]
                + self.kl * shares["kl"]
                - self.entropy * shares["entropy"]
            )
            return total, {name: share.item() for name, share in shares.items()}

        return loss


def standardised(
    advantages: torch.Tensor, decides: torch.Tensor, late: Sequence[int] = ()
) -> torch.Tensor:
    """Return advantages with mean 0 and deviation 1 over the decisions, each counted once.

    Args:
        advantages: [B, C].
        decides: [B, C] 1.0 where a decision begins.
        late: rows whose advantages are scaled and not shifted.
    """
    found = advantages[decides.bool()]
    if not len(found):
        return advantages
    deviation = found.std() if len(found) > 1 else torch.tensor(0.0)
    scaled = (advantages - found.mean()) / (deviation + GUARD)
    if late:
        # One of several episodes alone has no deviation to be measured in.
        unit = deviation if deviation > GUARD else torch.ones_like(deviation)
        scaled[late] = advantages[late] / (unit + GUARD)
    return scaled


def _unmoving(rollout: Rollout) -> Rollout:
    """Return a rollout in which nothing is better than anything else."""
    nothing = torch.zeros_like(rollout.advantages)
    return rollout._replace(advantages=nothing, decides=nothing)
