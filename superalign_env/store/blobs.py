"""Token ids and log-probs as bytes: 32-bit integers, 64-bit floats, little-endian.

``numpy.frombuffer(blob, "<i4")`` and ``"<f8"`` read them without a copy.
"""

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct, error


@lru_cache(maxsize=8192)
def _layout(count: int, code: str) -> Struct:
    return Struct(f"<{count}{code}")


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
    """Return the token ids that lie in a blob."""
    return _layout(len(blob) // 4, "i").unpack(blob) if blob else ()


def floats(blob: bytes | None) -> tuple[float, ...]:
    """Return the log-probs that lie in a blob."""
    return _layout(len(blob) // 8, "d").unpack(blob) if blob else ()
