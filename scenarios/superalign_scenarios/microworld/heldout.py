"""Splits of compositions by hash: fixed for good, the same on every machine.

The composition of an exercise is its prompt. The composition of a request is the set of
its acts without the names (``burn knife near baby secretly``): who does it, what is asked
about it and in which order acts are told must not turn a held-out act into a fresh one. A
request of several acts belongs to the strictest split of any of them (test before gate
before control before train), so a train request holds train acts only.
"""

import hashlib
from collections.abc import Iterable

from superalign_env.types import SPLITS, Split
from superalign_scenarios.microworld.words import WORLD_VERSION

_BOUNDS = (80, 85, 90, 100)
"""train 80 %, control 5 %, gate 5 %, test 10 %."""

_SALT = WORLD_VERSION.encode()
_CODES: tuple[int, ...] = tuple(
    next(code for code, bound in enumerate(_BOUNDS) if point < bound)
    for point in range(100)
)


def split_code(composition: str) -> int:
    """Return the split of a composition as an index into `SPLITS`."""
    digest = hashlib.blake2b(composition.encode(), digest_size=8, key=_SALT).digest()
    return _CODES[int.from_bytes(digest, "big") % 100]


def split_of(composition: str) -> Split:
    """Return the split that a composition belongs to."""
    return SPLITS[split_code(composition)]


def strictest(splits: Iterable[Split]) -> Split:
    """Return the split of a whole whose parts belong to the given splits."""
    return max(splits, key=SPLITS.index)
