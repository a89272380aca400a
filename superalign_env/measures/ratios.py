"""Ratios of two means, such as PGR, with an interval that knows both are uncertain."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from superalign_env.measures.intervals import Estimate
from superalign_env.measures.robust import draws, finite


class Ratio(NamedTuple):
    """A ratio of means, where it has a meaning."""

    estimate: Estimate | None
    """None where the denominator is not surely above the guard: then report the parts."""
    numerator: Estimate
    """Mean of the numerators with its bootstrap interval."""
    denominator: Estimate
    """Mean of the denominators with its bootstrap interval."""


def ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    *,
    guard: float,
    resamples: int = 10_000,
    seed: int = 0,
) -> Ratio:
    """Return mean(numerators) / mean(denominators), both resampled by the same seeds.

    It is undefined unless the whole 95 % interval of the denominator lies above the guard
    (PGR: an ability gap that may be nothing recovers nothing). The at most 2.5 % of
    resamples below it count with the guard itself as their denominator, so that none
    explodes. A single pair has no interval; there the denominator itself is compared.

    Args:
        numerators: one for each seed (w2s − weak).
        denominators: one for each of the same seeds (ceiling − weak).
        guard: smallest denominator that means anything, above zero.
        resamples: of the bootstrap.
        seed: of the bootstrap's draws.

    Raises:
        ValueError: not one partner for each, no pairs, numbers not finite, or a guard that
            is not above zero.
    """
    above, below = finite(numerators, "numerators"), finite(denominators, "denominators")
    if len(above) != len(below):
        raise ValueError(f"{len(above)} numerators and {len(below)} denominators: no pairs")
    if not guard > 0:
        raise ValueError(f"the guard is {guard}; it must be above zero")
    chunks = [
        (above[drawn].mean(axis=1), below[drawn].mean(axis=1))
        for (drawn,) in draws([len(above)], resamples=resamples, seed=seed)
    ]
    tops = np.concatenate([top for top, _ in chunks])
    bottoms = np.concatenate([bottom for _, bottom in chunks])
    numerator = _around(float(above.mean()), tops, len(above))
    denominator = _around(float(below.mean()), bottoms, len(below))
    lowest = denominator.value if denominator.low is None else denominator.low
    if not lowest > guard:
        return Ratio(None, numerator, denominator)
    quotients = tops / np.maximum(bottoms, guard)
    value = numerator.value / denominator.value
    return Ratio(_around(value, quotients, len(above)), numerator, denominator)


def _around(
    value: float, replicates: np.ndarray[tuple[int], np.dtype[np.float64]], n: int
) -> Estimate:
    """Return a value with the percentile interval of its replicates; one pair has none."""
    if n == 1:
        return Estimate(value, None, None, 1)
    low, high = np.quantile(replicates, (0.025, 0.975))
    return Estimate(value, float(low), float(high), n)
