"""How likely a policy's former self finds completions: what DPO and KTO measure from.

Those log-probabilities are computed once, before training, so no second model is held
while the policy trains.
"""

import math
from collections.abc import Sequence
from math import ceil
from typing import Literal

import torch
from transformers import PreTrainedModel

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.trainers.arguments import Recorder
from superalign_training.policy import Policy

Anchor = Literal["round", "original"]
"""The policy as it is when `improve` is called, or as it was before any training (with LoRA:
the base without its adapter)."""

Said = tuple[Sequence[int], Sequence[int]]
"""(prompt ids, completion ids)."""


def anchor_likelihoods(
    policy: Policy, anchor: Anchor, said: Sequence[Said], *, batch: int
) -> list[float]:
    """Return the anchor's log-probability of each completion.

    Args:
        policy: in training.
        anchor: which of its former selves.
        said: what is to be scored.
        batch: completions in one pass.

    Raises:
        InvalidOption: the anchor gives no finite numbers, or is gone.
    """
    model = policy.model if anchor == "round" else policy.reference_model()
    found = log_likelihoods(model, said, batch=batch)
    if not all(map(math.isfinite, found)):
        raise InvalidOption(
            f"{policy.reference} finds some completions infinitely unlikely, or has weights "
            "that are not finite: it cannot be trained from; go back to an earlier checkpoint"
        )
    return found


def log_likelihoods(
    model: PreTrainedModel, said: Sequence[Said], *, batch: int
) -> list[float]:
    """Return log p(completion | prompt), summed over tokens, in the order given.

    Args:
        model: a causal LM; nothing is trained.
        said: with at least one token on both sides.
        batch: completions in one pass.
    """
    device = model.device
    was_training = model.training
    model.train(False)
    found: list[float] = []
    try:
        for start in range(0, len(said), batch):
            part = said[start : start + batch]
            width = max(len(prompt) + len(completion) for prompt, completion in part)
            ids = torch.zeros((len(part), width), dtype=torch.long, device=device)
            mask, spoken = torch.zeros_like(ids), torch.zeros_like(ids)
            for row, (prompt, completion) in enumerate(part):
                end = len(prompt) + len(completion)
                ids[row, :end] = torch.tensor([*prompt, *completion], device=device)
                mask[row, :end] = 1
                spoken[row, len(prompt) : end] = 1
            found += _summed(model, ids, mask, spoken).tolist()
    finally:
        model.train(was_training)
    return found


def _summed(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, spoken: torch.Tensor
) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    chosen = logits.gather(2, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
    return (chosen * spoken[:, 1:]).sum(1)


def steps_within(steps: int, passes: float, *, rows: int, batch: int) -> int:
    """Return how many steps fit: fewer than allowed where rows are few."""
    return min(steps, ceil(passes * rows / batch))


def first_and_last(recorder: Recorder, key: str) -> tuple[float, float]:
    """Return the means of a number over the first and the last tenth of the steps.

    Raises:
        InvalidOption: it is not finite somewhere.
    """
    values = [numbers[key] for numbers in recorder.history if key in numbers]
    for step, value in enumerate(values, start=1):
        if not math.isfinite(value):
            raise InvalidOption(
                f"the {key} was {value} at step {step}: the policy in memory is spoiled (its "
                "last checkpoint is not); lower the rate, or look for broken weights"
            )
    if not values:
        raise InvalidOption(f"no step reported its {key}; raise the number of steps")
    tenth = max(1, len(values) // 10)
    return sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth
