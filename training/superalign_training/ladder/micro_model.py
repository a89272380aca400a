"""The models of the `micro` ladder: sizes of the rungs, and their tokenizer.

The tokenizer has whole words with byte fallback. A world word after a space is one token;
every other text falls to bytes, so that any Unicode text survives encoding and decoding.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from superalign_agents.ladders import MICRO_CHAT_TEMPLATE
from superalign_env.errors import UnknownId

_WORD = Regex(r" ?\S+|\s+(?!\S)|\s+")
"""A word takes the one space before it. Unlike GPT-2's pattern it does not split inside
words (``over-refusal``, ``->``), so every world word can be one token."""


class Size(NamedTuple):
    """Shape and pre-training of one rung."""

    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    """Of the SwiGLU layer."""
    steps: int
    """Optimiser steps of pre-training."""
    learning_rate: float
    """Peak of pre-training."""


SIZES: dict[int, Size] = {
    0: Size(10, 1, 1, 16, steps=4000, learning_rate=8e-3),
    1: Size(16, 1, 2, 32, steps=3000, learning_rate=1e-2),
    2: Size(24, 2, 2, 64, steps=3000, learning_rate=8e-3),
    3: Size(48, 2, 4, 128, steps=2000, learning_rate=6e-3),
    4: Size(96, 3, 4, 256, steps=2000, learning_rate=2e-3),
    5: Size(160, 4, 5, 432, steps=2000, learning_rate=1.2e-3),
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
        raise UnknownId("rung of micro", str(rung), [str(number) for number in SIZES])
    return SIZES[rung]


def build_config(size: Size, *, vocabulary: int, end: int, pad: int) -> LlamaConfig:
    """Return the model configuration of a size.

    A Llama: a Qwen2 folder would make `AutoTokenizer` replace the tokenizer silently.
    """
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.hidden_size,
        intermediate_size=size.intermediate_size,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        num_key_value_heads=size.num_heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
        initializer_range=0.6
        / size.hidden_size**0.5,  # 0.02 makes narrow models start late
    )


def count_parameters(model: LlamaForCausalLM) -> dict[str, int]:
    """Return the number of weights, tied ones once, and how many of them embed tokens."""
    total = sum(parameter.numel() for parameter in model.parameters())
    return {"total": total, "embedding": model.model.embed_tokens.weight.numel()}


def byte_symbols() -> tuple[str, ...]:
    """Return the printable symbol of each of the 256 bytes (GPT-2's table)."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = iter(range(256, 512))
    return tuple(chr(b if b in printable else next(hidden)) for b in range(256))


def build_vocabulary(words: Sequence[str], special: Sequence[str]) -> dict[str, int]:
    """Number the tokens: special ones, then the bytes, then the words after a space.

    Words of one byte also get their token with a space; without one they are a byte.
    """
    symbols = byte_symbols()
    spaced = ["".join(symbols[b] for b in f" {word}".encode()) for word in words]
    tokens = dict.fromkeys([*special, *symbols, *spaced])
    return {token: number for number, token in enumerate(tokens)}


def build_tokenizer(
    words: Sequence[str],
    special: Sequence[str],
    *,
    pad: str = "<|pad|>",
    end: str = "<|end|>",
    max_length: int = 256,
) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a micro world, with its chat template.

    Args:
        words: world words, without spaces.
        special: role markers and the like; each becomes one token that text cannot
            forge once it was fenced (`superalign_env.plain_text.fence`).
        pad: the special token that fills batches.
        end: the special token that closes every utterance (end of sequence).
        max_length: longest context of the models.
    """
    vocabulary = build_vocabulary(words, special)
    model = models.BPE(vocab=vocabulary, merges=[], ignore_merges=True)
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORD, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call] # theirs
        tokenizer_object=backend,
        eos_token=end,
        pad_token=pad,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )
    tokenizer.chat_template = MICRO_CHAT_TEMPLATE
    return tokenizer
