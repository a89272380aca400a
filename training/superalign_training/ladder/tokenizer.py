"""A tokenizer of whole words with byte fallback.

A world word after a space is one token; whatever is no world word falls to bytes, so
that any Unicode text survives encoding and decoding exactly.
"""

from collections.abc import Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from superalign_agents.ladders import MICRO_CHAT_TEMPLATE

_WORD = Regex(r" ?\S+|\s+(?!\S)|\s+")
"""A word takes the one space before it. Unlike GPT-2's pattern it does not split inside
words (``over-refusal``, ``->``), so every world word can be one token."""


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
