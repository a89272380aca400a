"""The rungs of the `micro` ladder: shapes, steps and learning rates."""

from typing import NamedTuple

from transformers import LlamaConfig, LlamaForCausalLM

from superalign_env.errors import UnknownId


class Size(NamedTuple):
    """One rung before it is trained."""

    width: int
    layers: int
    heads: int
    inner: int
    """Width of the SwiGLU layer."""
    steps: int
    """Optimiser steps of pre-training."""
    rate: float
    """Peak learning rate."""


SIZES: dict[int, Size] = {
    0: Size(10, 1, 1, 16, steps=4000, rate=8e-3),
    1: Size(16, 1, 2, 32, steps=3000, rate=1e-2),
    2: Size(24, 2, 2, 64, steps=3000, rate=8e-3),
    3: Size(48, 2, 4, 128, steps=2000, rate=6e-3),
    4: Size(96, 3, 4, 256, steps=2000, rate=2e-3),
    5: Size(160, 4, 5, 432, steps=2000, rate=1.2e-3),
}
"""Rung → size. Small models need more steps to leave the plateau, wide ones a lower rate
(feasibility study; the rates here were tried on one seed of this world)."""

SHIPPED_RUNGS = (0, 1, 2, 3, 4)
"""Rungs that are small enough to come with the package."""

CONTEXT = 256
"""Positions; longer contexts work by rotary extrapolation only."""


def size_of(rung: int) -> Size:
    """Return the size of a rung.

    Raises:
        UnknownId: the ladder has no such rung.
    """
    if rung not in SIZES:
        raise UnknownId("rung of micro", str(rung), [str(known) for known in SIZES])
    return SIZES[rung]


def build_config(size: Size, *, vocabulary: int, end: int, pad: int) -> LlamaConfig:
    """Return the model configuration of a size.

    A Llama: a Qwen2 folder would make `AutoTokenizer` replace the tokenizer silently.
    """
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
        initializer_range=0.6 / size.width**0.5,  # 0.02 makes narrow models start late
    )


def count_parameters(model: LlamaForCausalLM) -> dict[str, int]:
    """Return the number of weights, tied ones once, and how many of them embed tokens."""
    total = sum(parameter.numel() for parameter in model.parameters())
    return {"total": total, "embedding": model.model.embed_tokens.weight.numel()}
