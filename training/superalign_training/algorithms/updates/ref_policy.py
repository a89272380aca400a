"""The reference policy: a frozen model, or its log-probs of completions.

RL measures divergence from the model. DPO and KTO need its log-probs only: these are computed
once, before training, so that no second model is held while the policy trains.
"""

import copy
import math
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import RefPolicy
from superalign_training.policy import Policy

Completion = tuple[Sequence[int], Sequence[int]]
"""(prompt ids, completion ids)."""


def ref_model(policy: Policy, ref_policy: RefPolicy) -> PreTrainedModel:
    """Return the reference policy as a frozen model.

    Weights that are not trained (the base under an adapter) are shared, not copied.

    Raises:
        InvalidOption: the original is wanted, but is gone.
    """
    if ref_policy == "original":
        return policy.reference_model()
    untrained = [weight for weight in policy.model.parameters() if not weight.requires_grad]
    twin: PreTrainedModel = copy.deepcopy(
        policy.model, {id(weight): weight for weight in untrained}
    )
    twin.requires_grad_(False)
    twin.train(False)
    return twin


def ref_logprobs(
    policy: Policy, ref_policy: RefPolicy, completions: Sequence[Completion], *, batch: int
) -> list[float]:
    """Return the reference log-prob of each completion.

    Args:
        policy: in training.
        ref_policy: which reference.
        completions: to be scored.
        batch: completions in one pass.

    Raises:
        InvalidOption: log-probs that are not finite, or the original is gone.
    """
    model = policy.model if ref_policy == "round" else policy.reference_model()
    logprobs = completion_logprobs(model, completions, batch=batch)
    if not all(map(math.isfinite, logprobs)):
        raise InvalidOption(
            f"{policy.reference} finds some completions infinitely unlikely, or has weights "
            "that are not finite: it cannot be trained from; go back to an earlier checkpoint"
        )
    return logprobs


def completion_logprobs(
    model: PreTrainedModel, completions: Sequence[Completion], *, batch: int
) -> list[float]:
    """Return log p(completion | prompt), summed over tokens, in the order given.

    Args:
        model: a causal LM; nothing is trained.
        completions: with at least one token on both sides.
        batch: completions in one pass.
    """
    device = model.device
    was_training = model.training
    model.train(False)
    logprobs: list[float] = []
    try:
        for start in range(0, len(completions), batch):
            part = completions[start : start + batch]
            width = max(len(prompt) + len(completion) for prompt, completion in part)
            ids = torch.zeros((len(part), width), dtype=torch.long, device=device)
            mask, loss_mask = torch.zeros_like(ids), torch.zeros_like(ids)
            for row, (prompt, completion) in enumerate(part):
                end = len(prompt) + len(completion)
                ids[row, :end] = torch.tensor([*prompt, *completion], device=device)
                mask[row, :end] = 1
                loss_mask[row, len(prompt) : end] = 1
            logprobs += _summed(model, ids, mask, loss_mask).tolist()
    finally:
        model.train(was_training)
    return logprobs


def _summed(
    model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor, loss_mask: torch.Tensor
) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    chosen = logits.gather(2, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
    return (chosen * loss_mask[:, 1:]).sum(1)
