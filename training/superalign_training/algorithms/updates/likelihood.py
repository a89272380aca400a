"""Log-probs, entropies and values of recorded tokens under the weights of now."""

from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from superalign_agents.decoding import positions
from superalign_training.algorithms.updates.batches import Batch
from superalign_training.algorithms.updates.losses import entropy
from superalign_training.policy import Policy


class Likelihood(NamedTuple):
    """Of completions. Shapes: B rows, C positions."""

    logprobs: torch.Tensor
    """[B, C] of each own token, at the sampling temperature; 0 elsewhere."""
    entropy: torch.Tensor
    """[B, C] of the distribution that each token was drawn from, in nats."""


class Evaluation(NamedTuple):
    """Of completions. Shapes: B rows, C positions."""

    logprobs: torch.Tensor
    """[B, C] of each own token, at the sampling temperature; 0 elsewhere."""
    entropy: torch.Tensor
    """[B, C] of the distribution that each token was drawn from, in nats."""
    values: torch.Tensor
    """[B, C] float32; of the state before each token, by the policy's value head."""


def evaluate(policy: Policy, batch: Batch) -> Evaluation:
    """Return log-probs, entropies and values of a batch from one pass, with gradients."""
    outlook = policy.forward(batch.ids, batch.attention_mask, keep=batch.width + 1)
    found = read(outlook.logits, batch, policy.agent.temperature or 1.0)
    # Before a token is what was judged after the one in front of it.
    return Evaluation(*found, outlook.values[:, -batch.width - 1 : -1])


def likelihood(model: PreTrainedModel, batch: Batch, temperature: float) -> Likelihood:
    """Return how likely a model finds the completions of a batch."""
    untyped: Any = model
    output = untyped(
        input_ids=batch.ids,
        attention_mask=batch.attention_mask,
        position_ids=positions(batch.attention_mask),
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
    return Likelihood(chosen.masked_fill(batch.loss_mask == 0, 0.0), entropy(distribution))
