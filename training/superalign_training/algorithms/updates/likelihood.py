"""How likely recorded words are, and how sure the speaker is of them."""

from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from superalign_agents.decoding import positions
from superalign_training.algorithms.updates.batches import Batch
from superalign_training.algorithms.updates.losses import entropy


class Likelihood(NamedTuple):
    """Of completions. Shapes: B rows, C positions."""

    logprobs: torch.Tensor
    """[B, C] of each own token, at the sampling temperature; 0 elsewhere."""
    entropy: torch.Tensor
    """[B, C] of the distribution that each token was drawn from, in nats."""


def likelihood(model: PreTrainedModel, batch: Batch, temperature: float) -> Likelihood:
    """Return how likely a model finds the completions of a batch."""
    untyped: Any = model
    output = untyped(
        input_ids=batch.ids,
        attention_mask=batch.seen,
        position_ids=positions(batch.seen),
        use_cache=False,
        logits_to_keep=batch.width + 1,
    )
    return read(output.logits, batch, temperature)


def read(logits: torch.Tensor, batch: Batch, temperature: float) -> Likelihood:
    """Return what logits say of the completions of a batch.

    Args:
        logits: [B, C + 1, V], from the last token of the prompt on.
        batch: the rows.
        temperature: of sampling.
    """
    scaled = logits[:, -batch.width - 1 : -1].float() / temperature
    distribution = torch.log_softmax(scaled, dim=-1)
    chosen = distribution.gather(2, batch.completions[..., None])[..., 0]
    # What others said may have become arbitrarily unlikely, and infinity times 0 is no 0.
    return Likelihood(chosen.masked_fill(batch.own == 0, 0.0), entropy(distribution))
