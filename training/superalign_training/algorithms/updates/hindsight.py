"""What a policy thought of its rows before it began to learn from them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from superalign_training.algorithms.updates.batches import Batch, batch_of
from superalign_training.algorithms.updates.likelihood import evaluate, likelihood
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.experience import Row
from superalign_training.policy import Policy


class Hindsight(NamedTuple):
    """Shapes: B rows, C positions of the longest completion."""

    batch: Batch
    logprobs: torch.Tensor
    """[B, C] under the weights that the step began with."""
    values: torch.Tensor
    """[B, C] state of things before each token, judged by those weights; 0 unvalued."""
    anchored: torch.Tensor
    """[B, C] log-probabilities under the weights that are held on to; else `logprobs`."""

    def rows(self, index: torch.Tensor) -> "Hindsight":
        """Return the rows with the given places."""
        batch, *rest = self
        return Hindsight(batch.rows(index), *[tensor[index] for tensor in rest])


def look_back(
    policy: Policy,
    rows: Sequence[Row],
    *,
    anchor: PreTrainedModel | None,
    valued: bool,
    micro: MicroBatch,
) -> Hindsight:
    """Return what a policy thinks of rows now, without gradients.

    Args:
        policy: about to learn.
        rows: with at least one own token each.
        anchor: what it is held to, if anything.
        valued: whether its value function is asked.
        micro: how many rows go through the model at once.
    """
    batch = batch_of(policy, rows)
    temperature = policy.agent.temperature or 1.0

    def look(places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        part = batch.rows(places)
        if valued:
            logprobs, _, values = evaluate(policy, part)
        else:
            logprobs = likelihood(policy.model, part, temperature).logprobs
            values = torch.zeros_like(logprobs)
        anchored = likelihood(anchor, part, temperature).logprobs if anchor else logprobs
        return logprobs, values, anchored

    with torch.no_grad():
        found = zip(*micro.over(len(rows), look), strict=True)
    return Hindsight(batch, *[torch.cat(list(parts)) for parts in found])
