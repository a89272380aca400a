"""AdamW and its memory: what must be kept so that training goes on as if never stopped."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from superalign_env.errors import RecordDamaged
from superalign_training.policy.schedule import Schedule


def adamw(
    weights: Mapping[str, torch.nn.Parameter], head: Mapping[str, torch.nn.Parameter]
) -> torch.optim.AdamW:
    """Return an optimiser without memory: the LM's weights, then the value head's."""
    groups: list[dict[str, Any]] = [{"params": list(weights.values())}]
    groups += [{"params": list(head.values())}] if head else []
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0)


def set_rate(optimizer: torch.optim.AdamW, rate: float, value_rate: float) -> None:
    """Set the learning rates from which schedules start."""
    for group, wanted in zip(optimizer.param_groups, (rate, value_rate), strict=False):
        group["lr"] = wanted
        # A scheduler that was here before has left its own starting point.
        group["initial_lr"] = wanted


def scheduler(optimizer: torch.optim.AdamW, schedule: Schedule, *, done: int) -> LambdaLR:
    """Return a schedule that goes on after so many steps."""
    return LambdaLR(optimizer, lambda step: schedule.factor(done + step))


def moments(
    optimizer: torch.optim.AdamW | None, weights: Mapping[str, torch.nn.Parameter]
) -> dict[str, torch.Tensor]:
    """Return Adam's memory by the names of the weights, on the CPU."""
    found: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        for key, value in (optimizer.state.get(weight, {}) if optimizer else {}).items():
            found[f"{key}:{name}"] = value.detach().cpu().contiguous()
    return found


def take_moments(
    optimizer: torch.optim.AdamW,
    found: Mapping[str, torch.Tensor],
    weights: Mapping[str, torch.nn.Parameter],
) -> None:
    """Put Adam's memory back.

    Raises:
        RecordDamaged: memory of weights that the policy does not have.
    """
    for label, value in found.items():
        key, _, name = label.partition(":")
        if name not in weights:
            raise RecordDamaged(
                f"the optimiser remembers {name}, which the policy does not have; restore "
                "the checkpoint from a copy"
            )
        weight = weights[name]
        # Adam counts its steps on the CPU, whatever the device of the weights.
        optimizer.state[weight][key] = (
            value.cpu() if key == "step" else value.to(weight.device)
        )
