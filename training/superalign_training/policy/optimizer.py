"""AdamW with float32 masters, its state across checkpoints, and memory estimates."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import LambdaLR

from superalign_env.errors import RecordDamaged
from superalign_training.policy.schedule import Schedule

Weights = dict[str, Parameter]

_MASTER = "master"


class MasterAdamW(torch.optim.AdamW):
    """AdamW that steps float32 masters of narrower weights and rounds them back.

    A bfloat16 number has 8 significant bits, so a usual step is less than half the distance
    to the next one and would be lost in rounding: at a learning rate of 1e-6 all but every
    500th weight stayed where it was. Weights of 32 bits and more are their own masters.

    Gradients lie at the weights, where trainers clip them. A step moves those of narrower
    weights into float32, and leaves none.

    Args:
        weights: what is trained.
        lr: learning rate.
    """

    def __init__(self, weights: Iterable[Parameter], *, lr: float = 0.0) -> None:
        self.masters: dict[Parameter, Parameter] = {}
        """Narrower weight → its master."""
        super().__init__(list(weights), lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
        self.register_step_pre_hook(self._widen)
        self.register_step_post_hook(self._narrow)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add weights as torch does; the group gets the masters of the narrower ones."""
        weights: list[Parameter] = list(param_group["params"])
        for weight in weights:
            if weight.dtype.itemsize < torch.float32.itemsize:
                self.masters[weight] = Parameter(weight.detach().float())
        masters = [self.masters.get(weight, weight) for weight in weights]
        super().add_param_group({**param_group, "params": masters})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all weights and masters."""
        super().zero_grad(set_to_none)
        for weight in self.masters:
            weight.grad = None

    def state_of(self, weight: Parameter) -> dict[str, torch.Tensor]:
        """Return the optimiser state of a weight: its moments and its master."""
        master = self.masters.get(weight, weight)
        state: dict[str, torch.Tensor] = dict(self.state.get(master, {}))
        return state if master is weight else {**state, _MASTER: master}

    @torch.no_grad()
    def _widen(self, *_: object) -> None:
        for weight, master in self.masters.items():
            # What somebody else wrote into a weight since the last step stays.
            same = master.to(weight.dtype) == weight
            master.copy_(torch.where(same, master, weight.float()))
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None

    @torch.no_grad()
    def _narrow(self, *_: object) -> None:
        for weight, master in self.masters.items():
            weight.copy_(master)
            master.grad = None


class OptimizerState:
    """AdamW of a policy, created on first use, and its state in checkpoints.

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
        self._adamw: MasterAdamW | None = None

    def at(self, learning_rate: float, value_learning_rate: float) -> MasterAdamW:
        """Return AdamW at learning rates for the LM and the value head."""
        if self._adamw is None:
            self._adamw = MasterAdamW(self._weights().values())
            self._adamw.register_step_post_hook(self._count)
        if self._head() and len(self._adamw.param_groups) == 1:  # made in the meantime
            self._adamw.add_param_group({"params": list(self._head().values())})
        for group, rate in zip(
            self._adamw.param_groups, (learning_rate, value_learning_rate), strict=False
        ):
            group["lr"] = rate
            # A scheduler that was here before has left its own starting point.
            group["initial_lr"] = rate
        return self._adamw

    def schedule(self, adamw: torch.optim.AdamW, schedule: Schedule) -> LambdaLR:
        """Return a schedule that continues after the steps taken so far."""
        steps_taken = self.updates
        return LambdaLR(adamw, lambda step: schedule.factor(steps_taken + step))

    def forget(self, snapshot: Mapping[str, torch.Tensor] | None = None) -> None:
        """Drop all moments; the step count stays.

        Args:
            snapshot: whose masters are taken; without them weights start as they are.
        """
        self._adamw = None
        masters = {
            label: value
            for label, value in (snapshot or {}).items()
            if label.startswith(f"{_MASTER}:")
        }
        if masters:
            self.take(masters)

    def moments(self) -> dict[str, torch.Tensor]:
        """Return Adam's moments and the masters by the names of the weights, on the CPU."""
        return {
            name: value.detach().cpu().contiguous()
            for name, value in self._memory().items()
        }

    def masters(self) -> dict[str, torch.Tensor]:
        """Return copies of the masters alone, named as in `moments`."""
        return {
            name: value.detach().clone()
            for name, value in self._memory().items()
            if name.startswith(f"{_MASTER}:")
        }

    def _memory(self) -> dict[str, torch.Tensor]:
        if self._adamw is None:
            return {}
        return {
            f"{key}:{name}": value
            for name, weight in {**self._weights(), **self._head()}.items()
            for key, value in self._adamw.state_of(weight).items()
        }

    def take(self, moments: Mapping[str, torch.Tensor]) -> None:
        """Restore Adam's moments and the masters.

        Raises:
            RecordDamaged: memory of weights that the policy does not have.
        """
        adamw = self.at(0.0, 0.0)
        weights = {**self._weights(), **self._head()}
        for label, value in moments.items():
            key, _, name = label.partition(":")
            weight = weights.get(name)
            if (
                weight is None
                or (key != "step" and value.shape != weight.shape)
                or (key == _MASTER and weight not in adamw.masters)
            ):
                raise RecordDamaged(
                    f"the optimiser remembers another {name} than the policy has; restore "
                    "the checkpoint from a copy"
                )
            master = adamw.masters.get(weight, weight)
            if key == _MASTER:
                master.data.copy_(value)
            elif key == "step":  # counted on the CPU, whatever the device of the weights
                adamw.state[master][key] = value
            else:
                adamw.state[master][key] = value.to(weight.device)

    def _count(self, *_: object) -> None:
        self.updates += 1


class MemoryFootprint(NamedTuple):
    """Bytes on the policy's device, without activations."""

    weights: int
    """Of the LM and the value head, those that other policies share not counted."""
    shared: int
    """Weights of a base that lies in memory once for all its adapters."""
    masters: int
    """Float32 copies of trained weights that are narrower."""
    gradients: int
    """Of trained weights, in the numbers in which the optimiser steps."""
    moments: int
    """Adam's two averages for every trained weight."""
    reference: int
    """The frozen original, if it is a copy."""

    @property
    def total(self) -> int:
        """All of it, the shared base included."""
        return sum(self)


def memory_footprint(
    *,
    parameters: int,
    trained: int,
    head: int = 0,
    dtype: torch.dtype = torch.float32,
    adapter: bool = False,
    reference: bool = False,
) -> MemoryFootprint:
    """Return the bytes of a policy in training, without activations.

    Args:
        parameters: all weights of the model as it is used, the trained ones included.
        trained: those that are trained.
        head: weights of the value head on top, in float32.
        dtype: of the model; an adapter's weights are float32 at least, as peft has it.
        adapter: whether only an adapter is trained; its reference then costs nothing.
        reference: whether the untrained original is wanted too.
    """
    wide = max(dtype.itemsize, 4)
    narrow = dtype.itemsize < wide and not adapter
    frozen_bytes = (parameters - trained) * dtype.itemsize
    stepped = trained * wide + head * 4
    trained_bytes = trained * dtype.itemsize + head * 4 if narrow else stepped
    return MemoryFootprint(
        weights=trained_bytes + (0 if adapter else frozen_bytes),
        shared=frozen_bytes if adapter else 0,
        masters=trained * wide if narrow else 0,
        gradients=stepped,
        moments=2 * stepped,
        reference=parameters * dtype.itemsize if reference and not adapter else 0,
    )
