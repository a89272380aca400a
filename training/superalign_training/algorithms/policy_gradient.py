"""Training loop of PPO and REINFORCE: rollouts, old log-probs, optimiser steps, metrics."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import OnStep, RefPolicy
from superalign_training.algorithms.cases import (
    CaseSampler,
    all_rewards_equal,
    episode_returns,
)
from superalign_training.algorithms.logprobs import (
    OldLogprobs,
    compute_old_logprobs,
    ref_model,
)
from superalign_training.algorithms.micro_batch import MicroBatch
from superalign_training.data import Experience, Row
from superalign_training.policy import Policy
from superalign_training.policy.schedule import CONSTANT, Schedule

Loss = Callable[[torch.Tensor], tuple[torch.Tensor, Mapping[str, float]]]
"""places of some rows → (their share of the loss, their shares of what is reported)."""


class PolicyOptimizer:
    """Optimiser steps of a policy on a loss that is a sum over rows.

    Args:
        policy: whose weights move; its moments stay with it.
        learning_rate: before the schedule's factor.
        lr_schedule: how it changes over the policy's life.
        value_learning_rate: of the value head, if there is one; None is the same.
        max_grad_norm: longer gradients are shortened to this.
        micro: how many rows go through the model at once.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        learning_rate: float,
        lr_schedule: Schedule = CONSTANT,
        value_learning_rate: float | None = None,
        max_grad_norm: float,
        micro: MicroBatch,
    ) -> None:
        self._optimizer, self._schedule = policy.optimizers(
            learning_rate, lr_schedule, value_learning_rate=value_learning_rate
        )
        self._policy = policy
        self._max_grad_norm = max_grad_norm
        self._micro = micro

    def step(self, rows: int, loss: Loss) -> dict[str, float]:
        """Take one optimiser step; return the summed numbers of the loss and those of the step.

        Raises:
            InvalidOption: a loss that is no number; nothing was stepped.
            OutOfMemory: a single row does not fit into memory.
        """

        def push(places: torch.Tensor) -> Mapping[str, float]:
            value, report = loss(places)
            value.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            return {**report, "loss": value.item()}

        forget = self._optimizer.zero_grad
        forget()
        total: Counter[str] = Counter()
        for report in self._micro.over(rows, push, restart=forget):
            for name, value in report.items():
                total[name] += value  # type: ignore[assignment] # a Counter counts floats too
        if not math.isfinite(total["loss"]):
            forget()
            raise InvalidOption(
                f"the loss is {total['loss']}: the weights or the pay are no numbers any "
                "more; go back to the last checkpoint and lower learning_rate"
            )
        weights = self._policy.trained_weights().values()
        norm = torch.nn.utils.clip_grad_norm_(weights, self._max_grad_norm)
        numbers = {
            **total,
            "grad_norm": float(norm),
            "learning_rate": float(self._optimizer.param_groups[0]["lr"]),
        }
        self._optimizer.step()
        self._schedule.step()
        forget()
        return numbers


class History:
    """Metrics of all steps, and their means over the first and last tenth.

    Args:
        on_step: called after every step.
    """

    def __init__(self, on_step: OnStep | None) -> None:
        self._steps: list[dict[str, float]] = []
        self._on_step = on_step

    def add(self, numbers: Mapping[str, float]) -> None:
        """Add the metrics of one step."""
        self._steps.append(dict(numbers))
        if self._on_step is not None:
            self._on_step(len(self._steps), numbers)

    def outcome(self) -> dict[str, float]:
        """Return every number over the last tenth of the steps, and the first reward."""
        tenth = max(1, len(self._steps) // 10)
        outcome = {"reward_first": _mean([n["reward"] for n in self._steps[:tenth]])}
        newest = self._steps[-tenth:]
        for name in dict.fromkeys(name for numbers in newest for name in numbers):
            outcome[name] = _mean([numbers[name] for numbers in newest if name in numbers])
        return outcome


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class Update(Protocol):
    """The optimiser steps of one rollout."""

    def __call__(
        self,
        rows: Sequence[Row],
        old: OldLogprobs,
        optimizer: PolicyOptimizer,
        *,
        zero_std: bool,
    ) -> dict[str, float]:
        """Take them and return their numbers.

        Args:
            rows: of the rollout.
            old: log-probs and values before the update.
            optimizer: takes the steps.
            zero_std: whether rewards do not differ: advantages then are 0.
        """
        ...


class OnPolicySettings(Protocol):
    """Settings shared by the policy-gradient algorithms; see `Ppo`."""

    steps: int
    batch_size: int
    micro_batch_size: int | None
    learning_rate: float
    lr_schedule: Schedule
    ent_coef: float
    kl_coef: float
    ref_policy: RefPolicy
    max_grad_norm: float


def train_on_rollouts(
    settings: OnPolicySettings,
    policy: Policy,
    experience: Experience,
    update: Update,
    *,
    on_step: OnStep | None,
    value_learning_rate: float | None = None,
    use_values: bool = False,
    after: Callable[[Sequence[Row]], Mapping[str, float]] = lambda _: {},
) -> dict[str, float]:
    """Improve a policy in place: roll out, compute old log-probs, update, for all steps.

    Args:
        settings: of the algorithm.
        policy: changed in place.
        experience: gives the rollouts.
        update: takes the optimiser steps of a rollout.
        on_step: called after every rollout.
        value_learning_rate: of the value head; None is that of the model.
        use_values: whether the policy has a value head, whose values `update` reads.
        after: called with the rows once they were learned from; returns further numbers.
    """
    cases, history = CaseSampler(experience, policy), History(on_step)
    micro = MicroBatch(settings.micro_batch_size)
    ref = ref_model(policy, settings.ref_policy) if settings.kl_coef else None
    if use_values:
        _ = policy.value_head  # made before the optimiser, which must know its weights
    with policy.training(dropout=False):
        optimizer = PolicyOptimizer(
            policy,
            learning_rate=settings.learning_rate,
            lr_schedule=settings.lr_schedule,
            value_learning_rate=value_learning_rate,
            max_grad_norm=settings.max_grad_norm,
            micro=micro,
        )
        for _ in range(settings.steps):
            rows = cases.rows(settings.batch_size)
            returns = episode_returns(rows)
            zero_std = all_rewards_equal(rows)
            numbers: dict[str, float] = {}
            if not zero_std or settings.kl_coef or settings.ent_coef:
                old_logprobs = compute_old_logprobs(
                    policy, rows, ref=ref, values=use_values, micro=micro
                )
                numbers = update(rows, old_logprobs, optimizer, zero_std=zero_std)
            numbers["reward"] = sum(returns) / len(returns)
            numbers |= after(rows)
            history.add({**numbers, "frac_reward_zero_std": float(zero_std)})
    return {"cases": float(cases.played), **history.outcome()}
