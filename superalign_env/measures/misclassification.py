"""Rates that a reader with known errors has counted, corrected by its confusion matrix.

A reader of answers errs, and what it counts is not what happened. Its errors are measured
on a labelled set. With two kinds the correction is that of Rogan and Gladen (1978), with
more it is the inverse of the matrix, kept among shares that add up to one.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import comb, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from superalign_env.measures.comparisons import holm_adjusted
from superalign_env.measures.intervals import Estimate, normal, share
from superalign_env.plain_text import one_line
from superalign_env.seeding import generator

Numbers = NDArray[np.float64]

_PRIOR = 0.5
"""Added to each count of a resample (Jeffreys): an error that was never seen may happen."""

_WORST_CONDITION = 50.0
"""Condition number of the matrix from which on kinds are read too much alike."""

_LIKELY = 0.05
"""Adjusted p-value at which errors count as different between arms."""


class Confusion(NamedTuple):
    """Counts of true kinds by the kinds that they were read as."""

    kinds: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """True kind × kind as read, in the order of `kinds`."""

    def recall(self, kind: str) -> Estimate:
        """Return the share of a true kind that is read as such."""
        row = self.counts[self.kinds.index(kind)]
        return share(row[self.kinds.index(kind)], sum(row))

    def precision(self, kind: str) -> Estimate:
        """Return the share of what is read as a kind that is of it, in the labelled set.

        It holds for the mixture of kinds in that set; a recall holds for any.
        """
        place = self.kinds.index(kind)
        return share(self.counts[place][place], sum(row[place] for row in self.counts))

    @property
    def accuracy(self) -> Estimate:
        """Share of all that is read rightly."""
        right = sum(row[place] for place, row in enumerate(self.counts))
        return share(right, sum(map(sum, self.counts)))


class ArmRates(NamedTuple):
    """Corrected rates of experimental arms."""

    rates: dict[str, dict[str, Estimate]]
    """Arm → kind → its corrected share."""
    differences: dict[str, dict[str, Estimate]]
    """Arm → kind → its share minus that of the first arm; without the first."""
    differing: tuple[str, ...]
    """Sentences on errors that differ between arms; empty where none was found."""


def confusion(labelled: Iterable[tuple[str, str]], kinds: Sequence[str]) -> Confusion:
    """Return the confusion matrix of (true kind, kind as read).

    Raises:
        ValueError: a kind that is not among `kinds`.
    """
    counted = Counter(labelled)
    for pair in counted:
        if not set(pair) <= set(kinds):
            raise ValueError(f"{pair} are not both kinds of {', '.join(kinds)}")
    return Confusion(
        tuple(kinds), tuple(tuple(counted[true, read] for read in kinds) for true in kinds)
    )


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> Estimate:
    """Return the agreement of two labellers beyond chance (Cohen 1960), with its interval.

    Raises:
        ValueError: no items, not one label of each for every item, or only one kind.
    """
    n = len(first)
    if not n or n != len(second):
        raise ValueError(f"{n} and {len(second)} labels make no pairs")
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    counts = Counter(first), Counter(second)
    chance = sum(counts[0][kind] * counts[1][kind] for kind in counts[0]) / n**2
    if chance == 1.0:
        raise ValueError("both labellers know one kind alone; agreement means nothing")
    kappa = (agreed - chance) / (1.0 - chance)
    deviation = sqrt(agreed * (1.0 - agreed) / n) / (1.0 - chance)
    value, low, high, _ = normal(kappa, deviation, n)
    return Estimate(value, low, min(1.0, high or 1.0), n)


def corrected_rates(
    read: Mapping[str, int], errors: Confusion, *, resamples: int = 4000, seed: int = 0
) -> dict[str, Estimate]:
    """Return the share of each kind among the answers, corrected for the reader's errors.

    The interval resamples both the labelled set and the answers.

    Args:
        read: kind → how many answers were read as it.
        errors: of the reader, on labelled answers like these.
        resamples: how often both are drawn.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        ValueError: no answers, a kind without labelled answers, or kinds that the reader
            cannot tell apart.
    """
    counts = _counts(read, errors)
    shares = _solved(_matrix(errors), counts[None] / counts.sum())[0]
    drawn = _drawn(counts, errors, resamples, seed)
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {
        kind: Estimate(
            float(shares[i]),
            min(float(low[i]), float(shares[i])),
            max(float(high[i]), float(shares[i])),
            int(counts.sum()),
        )
        for i, kind in enumerate(errors.kinds)
    }


def corrected_arms(
    read: Mapping[str, Mapping[str, int]],
    errors: Mapping[str, Confusion],
    *,
    resamples: int = 4000,
    seed: int = 0,
) -> ArmRates:
    """Return the corrected shares of experimental arms, each by its own confusion matrix.

    A reader that errs more often in one arm shows an effect where there is none. Where its
    errors differ between arms (Fisher's exact test on each kind's recall, Holm), it warns.

    Args:
        read: arm → kind → how many answers were read as it; the first arm is the baseline.
        errors: arm → errors of the reader on labelled answers of this arm.
        resamples: how often answers and labelled sets are drawn.
        seed: of the draws.

    Raises:
        ValueError: an arm without its confusion matrix; and as `corrected_rates` does.
    """
    if set(read) != set(errors):
        raise ValueError(
            f"arms with answers ({', '.join(read)}) and arms with a confusion matrix "
            f"({', '.join(errors)}) differ; label some answers of every arm"
        )
    rates = {
        arm: corrected_rates(counts, errors[arm], resamples=resamples, seed=seed)
        for arm, counts in read.items()
    }
    drawn = {
        arm: _drawn(_counts(counts, errors[arm]), errors[arm], resamples, seed + place)
        for place, (arm, counts) in enumerate(read.items())
    }
    first, *others = read
    differences = {}
    for arm in others:
        kinds = errors[arm].kinds
        order = [errors[first].kinds.index(kind) for kind in kinds]
        spread = np.quantile(drawn[arm] - drawn[first][:, order], (0.025, 0.975), axis=0)
        differences[arm] = {
            kind: _between(rates[arm][kind], rates[first][kind], *map(float, spread[:, i]))
            for i, kind in enumerate(kinds)
        }
    differing = _differing(errors)
    for sentence in differing:
        warnings.warn(one_line(sentence, len(sentence)), RuntimeWarning, stacklevel=2)
    return ArmRates(rates, differences, differing)


def _between(ours: Estimate, theirs: Estimate, low: float, high: float) -> Estimate:
    value = ours.value - theirs.value
    return Estimate(value, min(low, value), max(high, value), min(ours.n, theirs.n))


def _differing(errors: Mapping[str, Confusion]) -> tuple[str, ...]:
    """Return a sentence for each kind whose recall differs between two arms."""
    p_values: dict[tuple[str, ...], float] = {}
    recalls: dict[tuple[str, ...], tuple[Estimate, Estimate]] = {}
    for one, other in combinations(errors, 2):
        for kind in errors[one].kinds:
            pair = errors[one].recall(kind), errors[other].recall(kind)
            hits = [round(recall.value * recall.n) for recall in pair]
            p_values[one, other, kind] = _fisher(hits[0], pair[0].n, hits[1], pair[1].n)
            recalls[one, other, kind] = pair
    return tuple(
        f"the reader finds {kind} answers of {one} at {recalls[place][0].said()} and of "
        f"{other} at {recalls[place][1].said()}: its errors differ between the arms, so an "
        "uncorrected difference between them may be an artefact"
        for place, p in holm_adjusted(p_values).items()
        for one, other, kind in [place]
        if p <= _LIKELY
    )


def _fisher(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """Return the two-sided p-value of Fisher's exact test of two shares."""
    total = hits + other_hits
    ways = [
        comb(n, k) * comb(other_n, total - k)
        for k in range(max(0, total - other_n), min(n, total) + 1)
    ]
    here = comb(n, hits) * comb(other_n, other_hits)
    return sum(way for way in ways if way <= here) / sum(ways)


def _counts(read: Mapping[str, int], errors: Confusion) -> Numbers:
    unknown = set(read) - set(errors.kinds)
    counts = np.array([read.get(kind, 0) for kind in errors.kinds], np.float64)
    if unknown or not counts.sum():
        raise ValueError(
            f"count answers of the kinds {', '.join(errors.kinds)}; got {dict(read)}"
        )
    return counts


def _matrix(errors: Confusion) -> Numbers:
    """Return P(read as | true kind), refusing what cannot be inverted."""
    counts = np.array(errors.counts, np.float64)
    for kind, total in zip(errors.kinds, counts.sum(axis=1), strict=True):
        if not total:
            raise ValueError(
                f"no labelled answer is {kind}; label some, or leave the kind out"
            )
    matrix: Numbers = counts / counts.sum(axis=1, keepdims=True)
    if np.linalg.cond(matrix) > _WORST_CONDITION:
        raise ValueError(
            f"the reader cannot tell {', '.join(errors.kinds)} apart: its confusion matrix "
            "has no stable inverse; merge kinds, or take another reader"
        )
    return matrix


def _drawn(counts: Numbers, errors: Confusion, resamples: int, seed: int) -> Numbers:
    """Return resampled corrected shares, [resamples, kinds]."""
    _matrix(errors)
    rng = generator(seed)
    rows = [
        rng.dirichlet(np.array(row, np.float64) + _PRIOR / len(row), size=resamples)
        for row in errors.counts
    ]
    shares = rng.dirichlet(counts + _PRIOR / len(counts), size=resamples)
    return _solved(np.stack(rows, axis=1), shares)


def _solved(matrices: Numbers, shares: Numbers) -> Numbers:
    """Return the true shares behind shares as read, kept among shares.

    Args:
        matrices: P(read as | true kind), [kinds, kinds] or [resamples, kinds, kinds].
        shares: as read, [resamples, kinds].
    """
    turned = np.swapaxes(np.broadcast_to(matrices, (*shares.shape, shares.shape[1])), 1, 2)
    # A resampled matrix may be singular; the least-squares solution always exists.
    solved = (np.linalg.pinv(turned) @ shares[..., None])[..., 0]
    return _onto_simplex(solved)


def _onto_simplex(points: Numbers) -> Numbers:
    """Return the nearest points whose parts are at least 0 and add up to 1 (Duchi 2008)."""
    ordered = -np.sort(-points, axis=1)
    excess = (np.cumsum(ordered, axis=1) - 1.0) / np.arange(1, points.shape[1] + 1)
    last = (ordered > excess).sum(axis=1) - 1
    taken = excess[np.arange(len(points)), last]
    nearest: Numbers = np.maximum(points - taken[:, None], 0.0)
    return nearest
