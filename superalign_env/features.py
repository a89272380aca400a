"""Feature vectors of views."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from superalign_env.errors import InvalidOption
from superalign_env.types import View

Vector = NDArray[np.float32]

LIMIT = 4.0
"""Features lie in [−4, 4]."""

_LONG = 256.0
"""Words, turns and menu entries that count as many: log(1 + 256) becomes 1."""


class Features(Protocol):
    """Function from a view to a vector. It may read all of the view, which holds no gold."""

    @property
    def size(self) -> int:
        """Length of the vectors."""
        ...

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments as plain JSON values."""
        ...

    def __call__(self, view: View) -> Vector:
        """Return the features [size] of a view, each within ±`LIMIT`."""
        ...


class HashedText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed bag of hashed words, the words again with their places, and four counts.

    Words fall into buckets by BLAKE2b with a sign of their own, so that collisions cancel
    rather than add up (Weinberger et al. 2009). Places count from the end, where a seat's
    text says what is asked. The counts are logarithms of the numbers of words, turns so
    far, menu entries, and turns that the seat itself has taken.
    """

    words: int = 256
    """Buckets of the bag of words."""
    placed: int = 256
    """Buckets of (word, distance from the end); 0 leaves order out."""
    reach: int = 32
    """Words from the end that have a place."""
    entries: int = 0
    """Menu entries that are read too: needed where menus differ from case to case."""
    entry_words: int = 16
    """Buckets of each entry's bag of words."""

    def __post_init__(self) -> None:
        """Refuse sizes that leave nothing to see.

        Raises:
            InvalidOption: a size below zero, or no bucket for words.
        """
        sizes = (self.placed, self.reach, self.entries, self.entry_words)
        if self.words < 1 or min(sizes) < 0:
            raise InvalidOption(f"hashed text needs words ≥ 1 and no size below 0: {self}")

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return self.words + self.placed + self.entries * self.entry_words + 4

    @property
    def options(self) -> dict[str, Any]:
        """The sizes."""
        return dict(msgspec.structs.asdict(self))

    def __call__(self, view: View) -> Vector:
        """Return the features of a view."""
        vector = np.zeros(self.size, np.float32)
        words = view.text.split()
        _add(vector[: self.words], words)
        if self.placed:
            recent = words[: -self.reach - 1 : -1]
            _add(
                vector[self.words : self.words + self.placed],
                [f"{place} {word}" for place, word in enumerate(recent)],
            )
        if self.entries and self.entry_words:
            grid = vector[self.words + self.placed : -4].reshape(self.entries, -1)
            for row, entry in zip(grid, view.menu, strict=False):
                _add(row, entry.split())
        counts = (len(words), len(view.turns), len(view.menu), view.turn)
        vector[-4:] = np.log1p(counts) / np.log1p(_LONG)
        return np.clip(vector, -LIMIT, LIMIT, out=vector)


def read_features(features: "Features | Mapping[str, Any] | None") -> Features:
    """Return features that are given as an object, as options of `HashedText`, or not at all.

    Raises:
        InvalidOption: options that `HashedText` does not know.
    """
    if features is None:
        return HashedText()
    if not isinstance(features, Mapping):
        return features
    try:
        return msgspec.convert(dict(features), HashedText)
    except msgspec.ValidationError as error:
        raise InvalidOption(f"features {dict(features)}: {error}") from error


def _add(buckets: Vector, words: list[str]) -> None:
    """Add the sign of every word to its bucket, in place."""
    for word in words:
        digest = _digest(word)
        buckets[(digest >> 1) % len(buckets)] += 1.0 if digest & 1 else -1.0


@lru_cache(maxsize=1 << 16)
def _digest(word: str) -> int:
    """Return 64 bits that are the same in every process (never Python's `hash`)."""
    raw = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
