"""Token ids and log-probs as bytes: 32-bit integers, 64-bit floats, little-endian.

``numpy.frombuffer(blob, "<i4")`` and ``"<f8"`` read them without a copy.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, error
from typing import Any


@lru_cache(maxsize=8192)
def _layout(count: int, code: str) -> Struct:
    return Struct(f"<{count}{code}")


@lru_cache(maxsize=8192)
def _both(ids: int, floats: int) -> Struct:
    return Struct(f"<{ids}i{floats}d")


def packed(
    prompt_ids: Sequence[int], token_ids: Sequence[int], logprobs: Sequence[float]
) -> bytes:
    """Return the numbers of one reply as bytes, in this order.

    Raises:
        ValueError: ids that are no 32-bit integers, log-probs that are no numbers.
    """
    layout = _both(len(prompt_ids) + len(token_ids), len(logprobs))
    try:
        return layout.pack(*prompt_ids, *token_ids, *logprobs)
    except error:  # which of them is wrong?
        parts = from_integers(prompt_ids), from_integers(token_ids), from_floats(logprobs)
        return b"".join(parts)


def from_integers(ids: Sequence[int]) -> bytes:
    """Return token ids as bytes.

    Raises:
        ValueError: not an integer, or beyond 32 bits.
    """
    try:
        return _layout(len(ids), "i").pack(*ids)
    except error as reason:
        raise ValueError(f"token ids must be 32-bit integers: {reason}") from reason


def from_floats(values: Sequence[float]) -> bytes:
    """Return log-probs as bytes, every bit kept.

    Raises:
        ValueError: not a number.
    """
    try:
        return _layout(len(values), "d").pack(*values)
    except error as reason:
        raise ValueError(f"log-probs must be numbers: {reason}") from reason


def integers(blob: bytes | None) -> tuple[int, ...]:
    """Return the token ids that lie in a blob.

    Raises:
        ValueError: it does not hold whole numbers of them.
    """
    return _read(blob, 4, "i") if blob else ()


def floats(blob: bytes | None) -> tuple[float, ...]:
    """Return the log-probs that lie in a blob.

    Raises:
        ValueError: it does not hold whole numbers of them.
    """
    return _read(blob, 8, "d") if blob else ()


def _read(blob: bytes, size: int, code: str) -> tuple[Any, ...]:
    try:
        return _layout(len(blob) // size, code).unpack(blob)
    except error as reason:
        raise ValueError(f"{len(blob)} bytes are no numbers: {reason}") from reason
