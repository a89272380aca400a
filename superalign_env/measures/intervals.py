"""Point estimates with 95 % intervals, from first principles and without state."""

from collections.abc import Sequence
from math import fsum, inf, sqrt
from typing import NamedTuple

from superalign_env.rounding import decimal

_Z = 1.959963984540054


class Estimate(NamedTuple):
    """A number and the 95 % interval around it.

    One observation of something that spreads has no interval: low and high are None then.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    """Observations behind it."""

    @property
    def least(self) -> float:
        """Its lower bound; minus infinity where there is none. What is decided by it is sure."""
        return -inf if self.low is None else self.low

    @property
    def most(self) -> float:
        """Its upper bound; infinity where there is none."""
        return inf if self.high is None else self.high

    def said(self, places: int = 2, *, sign: bool = False) -> str:
        """Return it in words, ``0.44 [0.35, 0.53]``; ``0.44 (n = 1)`` without an interval.

        Args:
            places: of its numbers, after the point.
            sign: whether numbers that are not below zero get a plus.
        """
        value = decimal(self.value, places, sign=sign)
        if self.low is None or self.high is None:
            return f"{value} (n = {self.n})"
        low, high = (decimal(part, places, sign=sign) for part in (self.low, self.high))
        return f"{value} [{low}, {high}]"


def share(successes: float, n: int) -> Estimate:
    """Return a share with its Wilson score interval (Wilson 1927).

    Raises:
        ValueError: no observations, or more successes than observations.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share; count at least one observation")
    centre = (successes + _Z * _Z / 2) / (n + _Z * _Z)
    spread = _Z / (n + _Z * _Z) * sqrt(successes * (n - successes) / n + _Z * _Z / 4)
    low, high = max(0.0, centre - spread), min(1.0, centre + spread)
    # At 0 and n the bound equals the share; rounding must not put it on the far side.
    value = successes / n
    return Estimate(value, min(low, value), max(high, value), n)


def mean(values: Sequence[float]) -> Estimate:
    """Return a mean with its Student t interval; one observation knows no spread, hence none.

    Raises:
        ValueError: no observations.
    """
    n = len(values)
    if not n:
        raise ValueError("no observations, no mean; count at least one observation")
    middle = sum(values) / n
    if n == 1:
        return Estimate(middle, None, None, 1)
    # Slow to import, scipy.stats twice as slow: paid by those who need the quantile.
    from scipy.special import stdtrit  # type: ignore[import-untyped] # ships no types # noqa: PLC0415 - slow

    variance = sum((value - middle) ** 2 for value in values) / (n - 1)
    spread = float(stdtrit(n - 1, 0.975)) * sqrt(variance / n)
    return Estimate(middle, middle - spread, middle + spread, n)


def census(values: Sequence[float]) -> Estimate:
    """Return the mean over a whole population: nothing was drawn, so nothing is unsure.

    Raises:
        ValueError: nobody was counted.
    """
    if not values:
        raise ValueError("an empty population has no mean")
    middle = fsum(values) / len(values)
    return Estimate(middle, middle, middle, len(values))


def normal(value: float, deviation: float, n: int) -> Estimate:
    """Return the middle of a normal belief with its interval.

    Raises:
        ValueError: a deviation below zero.
    """
    if deviation < 0:
        raise ValueError(f"a standard deviation is not below zero, as {deviation} is")
    return Estimate(value, value - _Z * deviation, value + _Z * deviation, n)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the mean of paired differences with its t interval; one pair has none.

    Raises:
        ValueError: not one partner for each, or no pairs.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} observations make no pairs")
    return mean([a - b for a, b in zip(ours, theirs, strict=True)])


def two_sided(first: Estimate, second: Estimate) -> Estimate:
    """Return the mean of two independent shares with its interval (Newcombe 1998, MOVER).

    The balanced accuracy: one share is the accuracy on one class, the other on the other.
    """
    below = sqrt((first.value - first.least) ** 2 + (second.value - second.least) ** 2) / 2
    above = sqrt((first.most - first.value) ** 2 + (second.most - second.value) ** 2) / 2
    value = (first.value + second.value) / 2
    return Estimate(
        value, max(0.0, value - below), min(1.0, value + above), first.n + second.n
    )
