"""Cheap random draws from one generator."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Luck:
    """Random numbers and items, drawn one by one from blocks of uniform numbers.

    A scalar draw from a numpy generator costs over a microsecond, one from a block about
    a tenth of that, and a document needs dozens.

    Args:
        rng: the only source of randomness.
        block: how many numbers to fetch at once.
    """

    __slots__ = ("_block", "_numbers", "_rng")

    def __init__(self, rng: np.random.Generator, block: int = 16) -> None:
        self._rng = rng
        self._block = block
        self._numbers: list[float] = []

    def unit(self) -> float:
        """Return a number in [0, 1)."""
        if not self._numbers:
            self._numbers = self._rng.random(self._block).tolist()
        return self._numbers.pop()

    def below(self, count: int) -> int:
        """Return an integer from 0 to count − 1."""
        if not self._numbers:
            self._numbers = self._rng.random(self._block).tolist()
        return int(self._numbers.pop() * count)

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        if not self._numbers:
            self._numbers = self._rng.random(self._block).tolist()
        return items[int(self._numbers.pop() * len(items))]

    def chance(self, probability: float) -> bool:
        """Return true with this probability."""
        if not self._numbers:
            self._numbers = self._rng.random(self._block).tolist()
        return self._numbers.pop() < probability

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """Return different items, in random order."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(count)]
