"""AdamW and its memory: what must be kept so that training goes on as if never stopped."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import LambdaLR

from superalign_env.errors import RecordDamaged
from superalign_training.policy.schedule import Schedule

Weights = dict[str, Parameter]


class Optimiser:
    """A policy's AdamW, made when first needed.

    Args:
        weights: gives the LM's trained weights by name.
        head: gives the value head's, or none.
        updates: steps taken in an earlier life.
    """

    def __init__(
        self,
        weights: Callable[[], Weights],
        head: Callable[[], Weights],
        *,
        updates: int = 0,
    ) -> None:
        self._weights = weights
        self._head = head
        self.updates = updates
        """Steps ever taken."""
        self._adamw: torch.optim.AdamW | None = None

    def at(self, rate: float, value_rate: float) -> torch.optim.AdamW:
        """Return AdamW at learning rates for the LM and the value head."""
        if self._adamw is None:
            self._adamw = torch.optim.AdamW(
                [{"params": list(self._weights().values())}],
                lr=0.0,
                betas=(0.9, 0.98),
                weight_decay=0.0,
            )
            self._adamw.register_step_post_hook(self._count)
        if self._head() and len(self._adamw.param_groups) == 1:  # made in the meantime
            self._adamw.add_param_group({"params": list(self._head().values())})
        for group, wanted in zip(
            self._adamw.param_groups, (rate, value_rate), strict=False
        ):
            group["lr"] = wanted
            # A scheduler that was here before has left its own starting point.
            group["initial_lr"] = wanted
        return self._adamw

    def schedule(self, adamw: torch.optim.AdamW, schedule: Schedule) -> LambdaLR:
        """Return a schedule that goes on after the steps already taken."""
        done = self.updates
        return LambdaLR(adamw, lambda step: schedule.factor(done + step))

    def forget(self) -> None:
        """Forget all moments; steps stay counted."""
        self._adamw = None

    def moments(self) -> dict[str, torch.Tensor]:
        """Return Adam's memory by the names of the weights, on the CPU."""
        found: dict[str, torch.Tensor] = {}
        state: Any = self._adamw.state if self._adamw else {}
        for name, weight in {**self._weights(), **self._head()}.items():
            for key, value in state.get(weight, {}).items():
                found[f"{key}:{name}"] = value.detach().cpu().contiguous()
        return found

    def take(self, moments: Mapping[str, torch.Tensor]) -> None:
        """Put Adam's memory back.

        Raises:
            RecordDamaged: memory of weights that the policy does not have.
        """
        adamw = self.at(0.0, 0.0)
        weights = {**self._weights(), **self._head()}
        for label, value in moments.items():
            key, _, name = label.partition(":")
            if name not in weights or (
                key != "step" and value.shape != weights[name].shape
            ):
                raise RecordDamaged(
                    f"the optimiser remembers another {name} than the policy has; restore "
                    "the checkpoint from a copy"
                )
            weight = weights[name]
            # Adam counts its steps on the CPU, whatever the device of the weights.
            kept = value if key == "step" else value.to(weight.device)
            adamw.state[weight][key] = kept

    def _count(self, *_: object) -> None:
        self.updates += 1
