"""Value head of a causal LM: logits and values from one forward pass.

The value head reads what the LM head reads. It is caught on its way into the LM head, so
logits are exactly the model's own, whatever else an architecture does to them (soft caps,
scales), and nothing is computed twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from superalign_agents.batching import positions
from superalign_env.errors import InvalidOption


class LogitsAndValues(NamedTuple):
    """Of one forward pass. Shapes: B rows, T positions, V tokens."""

    logits: torch.Tensor
    """[B, T, V] of the token after each position."""
    values: torch.Tensor
    """[B, T] float32; estimated return after each position."""


class ValueHead(nn.Module):
    """A linear layer on the last hidden state, in float32; all values start at 0.

    Args:
        width: of the hidden state.
        device: where it shall live.
    """

    def __init__(self, width: int, *, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1, device=device, dtype=torch.float32)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @classmethod
    def of(cls, model: PreTrainedModel) -> "ValueHead":
        """Return a fresh head that fits a model."""
        return cls(_output_layer(model).weight.shape[1], device=model.device)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return values [B, T] of hidden states [B, T, H]."""
        values: torch.Tensor = self.linear(hidden.float())[..., 0]
        return values


def logits_and_values(
    model: PreTrainedModel,
    head: ValueHead,
    *,
    ids: torch.Tensor,
    mask: torch.Tensor,
    keep: int = 0,
) -> LogitsAndValues:
    """Return logits and values from one forward pass, with gradients.

    Args:
        model: the language model.
        head: its value head.
        ids: [B, T] tokens, padded on either side.
        mask: [B, T] 1 where a token is real.
        keep: only the last so many positions are wanted; 0 means all.

    Raises:
        InvalidOption: a model without an output layer that could be listened to.
    """
    with _listening(model) as hidden:
        output: Any = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions(mask),
            use_cache=False,
            logits_to_keep=keep,
        )
    return LogitsAndValues(output.logits, head(hidden[-1]))


def values_of(
    model: PreTrainedModel, head: ValueHead, *, ids: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """Return values [B, T] alone: the tokens' logits are not computed, but for one.

    Arguments as in `logits_and_values`.
    """
    body: Any = model.base_model
    output = body(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask),
        use_cache=False,
    )
    values: torch.Tensor = head(output.last_hidden_state)
    return values


@contextmanager
def _listening(model: PreTrainedModel) -> Iterator[list[torch.Tensor]]:
    """Yield a list that receives the inputs of the output layer."""
    hidden: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        hidden.append(inputs[0])

    handle = _output_layer(model).register_forward_pre_hook(keep)
    try:
        yield hidden
    finally:
        handle.remove()


def _output_layer(model: PreTrainedModel) -> Any:
    untyped: Any = model
    layer = untyped.get_output_embeddings()
    if layer is None:
        raise InvalidOption(
            f"{type(model).__name__} has no output layer, so no value head can read with it; "
            "take a causal language model"
        )
    return layer
