"""Log-probs of recorded tokens: padded batches, one forward pass, old and reference log-probs.

RL measures the KL from a frozen reference model. DPO and KTO need its log-probs only: these are
computed once, before training, so that no second model is held while the policy trains.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from superalign_agents.batching import positions
from superalign_env.errors import InvalidOption
from superalign_training.algorithms.algorithm import RefPolicy
from superalign_training.algorithms.losses import entropy
from superalign_training.algorithms.micro_batch import MicroBatch
from superalign_training.data import Row
from superalign_training.policy import Policy

Completion = tuple[Sequence[int], Sequence[int]]
"""(prompt ids, completion ids)."""


def padded(
    completions: Sequence[Completion], *, filler: int = 0
) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return prompts padded on the left and completions on the right.

    Args:
        completions: B pairs, neither side empty.
        filler: id where nothing is.

    Returns:
        Ids and attention mask [B, P + C], and the width C of the longest completion.
    """
    prompt = max(len(before) for before, _ in completions)
    width = max(len(after) for _, after in completions)
    ids = np.full((len(completions), prompt + width), filler, np.int64)
    mask = np.zeros_like(ids)
    for row, (before, after) in enumerate(completions):
        begin, end = prompt - len(before), prompt + len(after)
        ids[row, begin:end] = (*before, *after)
        mask[row, begin:end] = 1
    return torch.as_tensor(ids), torch.as_tensor(mask), width


class RowBatch(NamedTuple):
    """Padded rows. Shapes: B rows, P longest prompt, C longest completion."""

    ids: torch.Tensor
    """[B, P + C] prompts padded on the left, completions on the right."""
    attention_mask: torch.Tensor
    """[B, P + C] 1 where a token is real."""
    loss_mask: torch.Tensor
    """[B, C] 1.0 at the policy's own tokens."""

    @property
    def width(self) -> int:
        """Positions of a completion (C)."""
        return self.loss_mask.shape[1]

    @property
    def completions(self) -> torch.Tensor:
        """[B, C] tokens of the completions."""
        return self.ids[:, -self.width :]

    def rows(self, index: torch.Tensor) -> "RowBatch":
        """Return the rows with the given places."""
        return RowBatch(*[tensor[index] for tensor in self])

    def spread(self, values: Sequence[Sequence[float]]) -> torch.Tensor:
        """Return one list of numbers per row as [B, C] float32, 0 after its end."""
        tensor = torch.zeros((len(values), self.width))
        for place, row in enumerate(values):
            tensor[place, : len(row)] = torch.tensor(row)
        return tensor.to(self.ids.device)


def batch_of(policy: Policy, rows: Sequence[Row]) -> RowBatch:
    """Return rows as tensors on a policy's device.

    Args:
        policy: whose tokens they are.
        rows: with prompts and completions of at least one token.
    """
    filler = int(policy.tokenizer.pad_token_id or 0)
    return pad(rows, filler=filler, device=policy.model.device)


def pad(rows: Sequence[Row], *, filler: int, device: torch.device) -> RowBatch:
    """Return rows as tensors, the id `filler` where nothing is."""
    completions = [(row.prompt_ids, row.completion_ids) for row in rows]
    ids, attention_mask, width = padded(completions, filler=filler)
    loss_mask = np.zeros((len(rows), width), np.float32)
    for place, row in enumerate(rows):
        loss_mask[place, : len(row.env_mask)] = row.env_mask
    return RowBatch(
        ids.to(device), attention_mask.to(device), torch.as_tensor(loss_mask).to(device)
    )


class TokenLogprobs(NamedTuple):
    """Of completions. Shapes: B rows, C positions."""

    logprobs: torch.Tensor
    """[B, C] of each own token, at the sampling temperature; 0 elsewhere."""
    entropy: torch.Tensor
    """[B, C] of the distribution that each token was sampled from, in nats."""


class LogprobsAndValues(NamedTuple):
    """Of completions. Shapes: B rows, C positions."""

    logprobs: torch.Tensor
    """[B, C] of each own token, at the sampling temperature; 0 elsewhere."""
    entropy: torch.Tensor
    """[B, C] of the distribution that each token was sampled from, in nats."""
    values: torch.Tensor
    """[B, C] float32; of the state before each token, by the policy's value head."""


def logprobs_and_values(policy: Policy, batch: RowBatch) -> LogprobsAndValues:
    """Return log-probs, entropies and values of a batch from one pass, with gradients."""
    outputs = policy.forward(batch.ids, batch.attention_mask, keep=batch.width + 1)
    logits = outputs.logits[:, -batch.width - 1 : -1]
    estimates = logprobs_of(logits, batch, policy.agent.temperature or 1.0)
    # The value of the state before a token is read at the token in front of it.
    return LogprobsAndValues(*estimates, outputs.values[:, -batch.width - 1 : -1])


def token_logprobs(
    model: PreTrainedModel, batch: RowBatch, temperature: float
) -> TokenLogprobs:
    """Return log-probs and entropies of a batch under a model, with gradients."""
    logits = completion_logits(model, batch.ids, batch.attention_mask, batch.width)
    return logprobs_of(logits, batch, temperature)


def completion_logits(
    model: PreTrainedModel, ids: torch.Tensor, attention_mask: torch.Tensor, width: int
) -> torch.Tensor:
    """Return the logits [B, C, V] of completion tokens from one forward pass.

    Args:
        model: a causal LM.
        ids: [B, T], whose last C positions are completions.
        attention_mask: [B, T] 1 where a token is real.
        width: C.
    """
    untyped: Any = model
    output = untyped(
        input_ids=ids,
        attention_mask=attention_mask,
        position_ids=positions(attention_mask),
        use_cache=False,
        logits_to_keep=width + 1,
    )
    logits: torch.Tensor = output.logits[:, -width - 1 : -1]
    return logits


def logprobs_of(logits: torch.Tensor, batch: RowBatch, temperature: float) -> TokenLogprobs:
    """Return log-probs and entropies of the completions of a batch.

    Args:
        logits: [B, C, V] of the completions' tokens.
        batch: the rows.
        temperature: of sampling.
    """
    distribution = torch.log_softmax(logits.float() / temperature, dim=-1)
    logprobs = distribution.gather(2, batch.completions[..., None])[..., 0]
    # Tokens of others may have become arbitrarily unlikely, and infinity times 0 is no 0.
    return TokenLogprobs(
        logprobs.masked_fill(batch.loss_mask == 0, 0.0), entropy(distribution)
    )


class OldLogprobs(NamedTuple):
    """Estimates of a batch before the update. B rows, C positions of the longest completion."""

    batch: RowBatch
    old_logprobs: torch.Tensor
    """[B, C] under the weights that the step begins with."""
    values: torch.Tensor
    """[B, C] of the state before each token, by those weights; 0 where none are wanted."""
    ref_logprobs: torch.Tensor
    """[B, C] under the reference policy; `old_logprobs` where there is none."""

    def rows(self, index: torch.Tensor) -> "OldLogprobs":
        """Return the rows with the given places."""
        batch, *rest = self
        return OldLogprobs(batch.rows(index), *[tensor[index] for tensor in rest])


def compute_old_logprobs(
    policy: Policy,
    rows: Sequence[Row],
    *,
    ref: PreTrainedModel | None,
    values: bool,
    micro: MicroBatch,
) -> OldLogprobs:
    """Return the log-probs and values of rows under a policy as it is now, without gradients.

    Args:
        policy: about to be updated.
        rows: with at least one own token each.
        ref: the reference policy, if there is one.
        values: whether to compute values.
        micro: how many rows go through the model at once.
    """
    batch = batch_of(policy, rows)
    temperature = policy.agent.temperature or 1.0

    def of(places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        part = batch.rows(places)
        if values:
            logprobs, _, estimates = logprobs_and_values(policy, part)
        else:
            logprobs = token_logprobs(policy.model, part, temperature).logprobs
            estimates = torch.zeros_like(logprobs)
        under_ref = token_logprobs(ref, part, temperature).logprobs if ref else logprobs
        return logprobs, estimates, under_ref

    with torch.no_grad():
        parts = zip(*micro.over(len(rows), of), strict=True)
    return OldLogprobs(batch, *[torch.cat(list(part)) for part in parts])


def ref_model(policy: Policy, ref_policy: RefPolicy) -> PreTrainedModel:
    """Return the reference policy as a frozen model.

    Weights that are not trained (the base under an adapter) are shared, not copied.

    Raises:
        InvalidOption: the original is wanted, but is gone.
    """
    if ref_policy == "original":
        return policy.reference_model()
    untrained = [weight for weight in policy.model.parameters() if not weight.requires_grad]
    frozen: PreTrainedModel = copy.deepcopy(
        policy.model, {id(weight): weight for weight in untrained}
    )
    frozen.requires_grad_(False)
    frozen.train(False)
    return frozen


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
    logprobs: list[float] = []
    was_training = model.training
    model.train(False)
    try:
        for start in range(0, len(completions), batch):
            part = completions[start : start + batch]
            # Padded on the right, as TRL pads: there before training both log-probs agree.
            ids, mask, width = padded([((), (*before, *after)) for before, after in part])
            loss_mask = mask.clone()
            for row, (before, _) in enumerate(part):
                loss_mask[row, : len(before)] = 0
            ids, mask = ids.to(model.device), mask.to(model.device)
            with torch.no_grad():
                logits = completion_logits(model, ids, mask, width - 1)
            logits = logits if logits.dtype == torch.float64 else logits.float()
            of_tokens = logits.gather(2, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
            logprobs += (of_tokens * loss_mask[:, 1:].to(of_tokens)).sum(1).tolist()
    finally:
        model.train(was_training)
    return logprobs
