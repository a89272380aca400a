"""Token ids and log-probs as bytes: 32-bit integers, 64-bit floats, little-endian.

``numpy.frombuffer(blob, "<i4")`` and ``"<f8"`` read them without a copy.
"""

import sys
from array import array
from collections.abc import Iterable

_SWAP = sys.byteorder == "big"


def from_integers(ids: Iterable[int]) -> bytes:
    """Return token ids as bytes.

    Raises:
        OverflowError: an id beyond 32 bits.
    """
    numbers = array("i", ids)
    if _SWAP:
        numbers.byteswap()
    return numbers.tobytes()


def from_floats(values: Iterable[float]) -> bytes:
    """Return log-probs as bytes, every bit kept."""
    numbers = array("d", values)
    if _SWAP:
        numbers.byteswap()
    return numbers.tobytes()


def integers(blob: bytes | None) -> tuple[int, ...]:
    """Return the token ids that lie in a blob."""
    numbers = array("i", blob or b"")
    if _SWAP:
        numbers.byteswap()
    return tuple(numbers)


def floats(blob: bytes | None) -> tuple[float, ...]:
    """Return the log-probs that lie in a blob."""
    numbers = array("d", blob or b"")
    if _SWAP:
        numbers.byteswap()
    return tuple(numbers)
