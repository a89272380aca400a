"""Interquartile means, and bootstrap intervals by resampling seeds within tasks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superalign_env.measures.intervals import Estimate
from superalign_env.seeding import generator

Numbers = NDArray[np.float64]

Statistic = Callable[[Numbers], Numbers]
"""Takes [R, n] to [R]: one number from each row."""

_AT_ONCE = 1 << 22
"""Resampled numbers that are held in memory at a time."""


def interquartile_mean(values: ArrayLike) -> Any:
    """Return the mean of the middle half, over the last axis (Agarwal et al. 2021).

    A quarter of the observations, rounded down, is left out at either end.

    Raises:
        ValueError: no observations.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)
    n = ordered.shape[-1]
    if not n:
        raise ValueError("no observations, no interquartile mean")
    return ordered[..., n // 4 : n - n // 4].mean(axis=-1)


def average(values: ArrayLike) -> Any:
    """Return the plain mean over the last axis, as a statistic for `stratified`."""
    return np.asarray(values, np.float64).mean(axis=-1)


def stratified(
    scores: Mapping[str, Sequence[float]],
    statistic: Statistic = interquartile_mean,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Return a statistic over seeds × tasks with its stratified bootstrap interval.

    One seed for each task knows no spread, hence no interval.

    Seeds are drawn again within each task, so every task keeps its weight (Agarwal et al.
    2021, the percentile interval). With fewer than about ten seeds such an interval is
    too narrow; see `superalign_env.measures.comparisons` for comparisons.

    Args:
        scores: task → one score for each seed; tasks may have different numbers of seeds.
        statistic: of all scores together; `interquartile_mean` or `average`.
        resamples: how often the seeds are drawn.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        ValueError: no task, a task without scores, a score that is not finite.
    """
    strata = [finite(values, f"the scores of {task!r}") for task, values in scores.items()]
    if not strata:
        raise ValueError("no tasks, no statistic")
    everything = np.concatenate(strata)
    value = float(statistic(everything[None])[0])
    if max(map(len, strata)) == 1:
        return Estimate(value, None, None, len(everything))
    replicates = [
        statistic(
            np.concatenate([s[d] for s, d in zip(strata, places, strict=True)], axis=1)
        )
        for places in draws([len(s) for s in strata], resamples=resamples, seed=seed)
    ]
    low, high = np.quantile(np.concatenate(replicates), (0.025, 0.975))
    return Estimate(value, float(low), float(high), len(everything))


def draws(
    sizes: Sequence[int], *, resamples: int, seed: int
) -> Iterator[list[NDArray[np.int64]]]:
    """Yield bootstrap indices, a few thousand resamples at a time.

    Args:
        sizes: observations in each stratum.
        resamples: of all chunks together.
        seed: of the draws.

    Yields:
        For each stratum an array [R, size] of indices below its size.

    Raises:
        ValueError: fewer than 100 resamples: no quantile of them would mean anything.
    """
    if resamples < 100:
        raise ValueError(f"{resamples} resamples give no interval; take at least 100")
    rng = generator(seed)
    rows = max(1, _AT_ONCE // sum(sizes))
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        yield [rng.integers(0, size, size=(count, size)) for size in sizes]


def finite(values: Sequence[float] | Numbers, name: str) -> Numbers:
    """Return observations as an array [n].

    Raises:
        ValueError: there are none, or one is not finite.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} must be a sequence of at least one number")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} hold NaN or infinity; leave failed cells out by name, not by value"
        )
    return array
