"""Gradient steps of a policy's own optimiser, as many rows at a time as memory allows."""

import math
from collections import Counter
from collections.abc import Callable, Mapping

import torch

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.policy import Policy
from superalign_training.policy.schedule import CONSTANT, Schedule

Loss = Callable[[torch.Tensor], tuple[torch.Tensor, Mapping[str, float]]]
"""places of some rows → (their share of the loss, their shares of what is reported)."""


class Descent:
    """Steps down the gradient of a loss that is a sum over rows.

    Args:
        policy: whose weights move; its moments stay with it.
        rate: learning rate, before the schedule's factor.
        schedule: how it changes over the policy's life.
        value_rate: of the value head, if there is one; None is the same.
        max_norm: longer gradients are shortened to this.
        micro: how many rows go through the model at once.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        rate: float,
        schedule: Schedule = CONSTANT,
        value_rate: float | None = None,
        max_norm: float,
        micro: MicroBatch,
    ) -> None:
        self._optimizer, self._schedule = policy.optimizers(
            rate, schedule, value_rate=value_rate
        )
        self._policy = policy
        self._max_norm = max_norm
        self._micro = micro

    def step(self, rows: int, loss: Loss) -> dict[str, float]:
        """Take one step and return what the loss reports, added up, and the step's own.

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
                "more; go back to the last checkpoint and lower the rate"
            )
        weights = self._policy.trained_weights().values()
        norm = torch.nn.utils.clip_grad_norm_(weights, self._max_norm)
        numbers = {
            **total,
            "grad_norm": float(norm),
            "learning_rate": float(self._optimizer.param_groups[0]["lr"]),
        }
        self._optimizer.step()
        self._schedule.step()
        forget()
        return numbers
