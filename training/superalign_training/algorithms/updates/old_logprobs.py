"""Old log-probs, values and reference log-probs of a batch, computed before the update."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from superalign_training.algorithms.updates.batches import Batch, batch_of
from superalign_training.algorithms.updates.likelihood import evaluate, likelihood
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.data import Row
from superalign_training.policy import Policy


class OldLogprobs(NamedTuple):
    """Estimates of a batch before the update. B rows, C positions of the longest completion."""

    batch: Batch
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
            logprobs, _, estimates = evaluate(policy, part)
        else:
            logprobs = likelihood(policy.model, part, temperature).logprobs
            estimates = torch.zeros_like(logprobs)
        under_ref = likelihood(ref, part, temperature).logprobs if ref else logprobs
        return logprobs, estimates, under_ref

    with torch.no_grad():
        parts = zip(*micro.over(len(rows), of), strict=True)
    return OldLogprobs(batch, *[torch.cat(list(part)) for part in parts])
