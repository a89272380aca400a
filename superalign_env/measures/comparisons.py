"""Two things compared over seeds: paired differences, ratios, correlation, many at once."""

from collections.abc import Mapping, Sequence
from math import atanh, sqrt, tanh
from typing import NamedTuple, TypeVar

import numpy as np

from superalign_env.measures.intervals import Estimate, mean, normal
from superalign_env.measures.robust import average, draws, finite, stratified

Cell = TypeVar("Cell", int, str, tuple[str, int])
"""What two results share: a seed, or (task, seed)."""


class Paired(NamedTuple):
    """A mean difference, ours minus theirs, and how sure it is."""

    t: Estimate
    """With Student's t interval: the one to report for few seeds."""
    bootstrap: Estimate
    """With the percentile bootstrap interval: free of normality, too narrow for few seeds."""
    p: float
    """Two-sided p-value of the paired t test, for `holm_adjusted`; 1 for a single pair."""
    wins: float
    """Share of pairs in which ours is larger; a tie counts half."""


def paired_difference(
    ours: Mapping[Cell, float],
    theirs: Mapping[Cell, float],
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Paired:
    """Compare two methods cell by cell.

    Args:
        ours: cell (seed) → result.
        theirs: the same cells.
        resamples: of the bootstrap.
        seed: of the bootstrap's draws.

    Raises:
        ValueError: cells that only one of them has, no cells, or numbers not finite.
    """
    lonely = sorted(map(str, ours.keys() ^ theirs.keys()))
    if lonely:
        raise ValueError(
            f"{', '.join(lonely[:5])} {'are' if len(lonely) > 1 else 'is'} on one side only; "
            "run the missing cells, or leave them out on both sides"
        )
    if not ours:
        raise ValueError("no cells, no difference")
    differences = finite([ours[cell] - theirs[cell] for cell in ours], "differences")
    estimate = mean(differences.tolist())
    wins = float(((differences > 0) + 0.5 * (differences == 0)).mean())
    around = stratified({"": differences.tolist()}, average, resamples=resamples, seed=seed)
    return Paired(estimate, around, _p_value(differences.tolist(), estimate.value), wins)


def _p_value(differences: list[float], middle: float) -> float:
    """Return the two-sided p-value of a mean difference of zero."""
    n = len(differences)
    if n == 1:
        return 1.0
    variance = sum((value - middle) ** 2 for value in differences) / (n - 1)
    if variance == 0.0:
        return float(middle == 0.0)
    # scipy takes a third of a second to import: paid by those who need the distribution.
    from scipy.stats import t  # type: ignore[import-untyped] # ships no types # noqa: PLC0415 - slow

    return float(2.0 * t.sf(abs(middle) / sqrt(variance / n), n - 1))


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
        (above[places].mean(axis=1), below[places].mean(axis=1))
        for (places,) in draws([len(above)], resamples=resamples, seed=seed)
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


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> Estimate | None:
    """Return Spearman's rank correlation with its interval; None where one never varies.

    The interval is Fisher's with the variance of Bonett and Wright (2000),
    (1 + r²/2)/(n − 3).

    Raises:
        ValueError: not one partner for each.
    """
    n = len(ours)
    if n != len(theirs):
        raise ValueError(f"{n} and {len(theirs)} observations make no pairs")
    if len(set(ours)) < 2 or len(set(theirs)) < 2 or n < 4:
        return None
    # scipy takes a third of a second to import: paid by those who need it.
    from scipy.stats import spearmanr  # noqa: PLC0415 - slow

    r = float(spearmanr(ours, theirs).statistic)
    if abs(r) >= 1.0:
        return Estimate(r, r, r, n)
    around = normal(atanh(r), sqrt((1.0 + r * r / 2.0) / (n - 3)), n)
    return Estimate(r, tanh(around.least), tanh(around.most), n)


Name = TypeVar("Name", str, int, tuple[str, ...])


def holm_adjusted(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Return p-values adjusted for their number (Holm 1979, step-down).

    Those at or below α are rejected with a family-wise error of at most α, whatever the
    comparisons have to do with each other.

    Args:
        p_values: comparison → p-value.

    Returns:
        The same comparisons, in the same order.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    for name, p in p_values.items():
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"the p-value of {name!r} is {p}, not in [0, 1]")
    adjusted: dict[Name, float] = {}
    floor = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        # A larger p-value never ends up with a smaller adjusted one.
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p_values}
