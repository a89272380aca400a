"""Agreement of sources and correlation of their errors.

Sources help each other only as far as their errors differ: these matrices say how far.
Tables are items × sources, as in `superalign_env.measures.aggregation`; matrices are
sources × sources, symmetric, and None where nothing can be said.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from math import atanh, fsum, sqrt, tanh

import numpy as np
import numpy.typing as npt

from superalign_env.errors import InvalidOption
from superalign_env.measures.aggregation import Votes, check_table
from superalign_env.measures.intervals import Estimate, normal, share
from superalign_env.measures.robust import draws

Numbers = npt.NDArray[np.float64]

Matrix = list[list[Estimate | None]]

Beliefs = Sequence[Sequence[float]]
"""Items × options: the probability of each answer. Items may differ in their options."""


def disagreement(votes: Votes) -> Matrix:
    """Return on which share of the items that both answered two sources differ."""

    def differ(a: int, b: int) -> Estimate | None:
        shared = [row for row in votes if row[a] is not None and row[b] is not None]
        if not shared:
            return None
        return share(sum(row[a] != row[b] for row in shared), len(shared))

    return _matrix(check_table(votes), differ)


def mean_disagreement(votes: Votes) -> float:
    """Return the mean of `disagreement` over all pairs; 0 where there is no pair."""
    matrix = disagreement(votes)
    shares = [
        cell.value for a, b in combinations(range(len(matrix)), 2) if (cell := matrix[a][b])
    ]
    return fsum(shares) / len(shares) if shares else 0.0


def error_correlation(votes: Votes, truth: Sequence[str]) -> Matrix:
    """Return the correlation of two sources' errors, over items that both answered.

    The phi coefficient of being wrong, with Fisher's interval: 0 for independent sources,
    1 for copies. None where one of them is always or never wrong, or on fewer than four
    items.

    Args:
        votes: items × sources.
        truth: of each item; evaluation only.

    Raises:
        InvalidOption: not one truth for each item.
    """
    width = check_table(votes)
    if len(truth) != len(votes):
        raise InvalidOption(
            f"{len(truth)} truths for {len(votes)} items; give one for each"
        )

    def correlated(a: int, b: int) -> Estimate | None:
        errors = [
            (row[a] != right, row[b] != right)
            for row, right in zip(votes, truth, strict=True)
            if row[a] is not None and row[b] is not None
        ]
        return _phi(errors)

    return _matrix(width, correlated)


def capa(
    ours: Beliefs,
    theirs: Beliefs,
    right: Sequence[int],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate | None:
    """Return CAPA's κ_p: agreement beyond what two accuracies explain (Goel et al. 2025).

    (c_obs − c_exp)/(1 − c_exp), where c_obs is the mean probability of giving the same
    answer and c_exp that of two sources as often right as these, whose errors fall evenly
    on the wrong options. 1 for copies, 0 for independent errors, below 0 for sources that
    avoid each other's. The interval is a bootstrap over items.

    Args:
        ours: [N, K] probabilities of the options of each item.
        theirs: the same.
        right: [N] number of the true option.
        resamples: of the bootstrap.
        seed: of its draws.

    Returns:
        None where chance explains everything: both are always right.

    Raises:
        InvalidOption: no items, items that are not paired, fewer than two options.
    """
    if not right or {len(ours), len(theirs)} != {len(right)}:
        raise InvalidOption(
            f"{len(ours)} and {len(theirs)} items with {len(right)} truths make no pairs"
        )
    rows = np.array(
        [_of_item(a, b, true) for a, b, true in zip(ours, theirs, right, strict=True)],
        np.float64,
    )
    value = float(_kappa(rows.mean(axis=0)))
    if not np.isfinite(value):
        return None
    if len(rows) == 1:
        return Estimate(value, None, None, 1)
    resampled = np.concatenate(
        [
            _kappa(rows[place].mean(axis=1))
            for (place,) in draws([len(rows)], resamples=resamples, seed=seed)
        ]
    )
    finite = resampled[np.isfinite(resampled)]
    low, high = np.quantile(finite, (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value), len(rows))


def capa_matrix(
    sources: Sequence[Beliefs],
    right: Sequence[int],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Matrix:
    """Return κ_p of every pair of sources; arguments as `capa`."""
    return _matrix(
        len(sources),
        lambda a, b: capa(sources[a], sources[b], right, resamples=resamples, seed=seed),
    )


def one_hot(
    votes: Votes, options: Sequence[Sequence[str]]
) -> list[list[tuple[float, ...]]]:
    """Return the beliefs of sources that only say their answers, source by source.

    Args:
        votes: items × sources, none missing: leave other items out.
        options: of each item.

    Raises:
        InvalidOption: an answer that is missing or no option.
    """
    vectors = []
    for source in range(check_table(votes)):
        rows = []
        for row, possible in zip(votes, options, strict=True):
            if row[source] not in possible:
                raise InvalidOption(
                    f"{row[source]!r} is none of the options {', '.join(possible)}; name "
                    "every possible answer and leave items out that a source has not answered"
                )
            rows.append(tuple(float(option == row[source]) for option in possible))
        vectors.append(rows)
    return vectors


def _of_item(a: Sequence[float], b: Sequence[float], true: int) -> tuple[float, ...]:
    """Return agreement, either's probability of the truth, and 1/(k − 1)."""
    if len(a) != len(b) or len(a) < 2:
        raise InvalidOption(
            f"{len(a)} and {len(b)} options; both sources need the same, at least two"
        )
    return (
        fsum(x * y for x, y in zip(a, b, strict=True)),
        a[true],
        b[true],
        1 / (len(a) - 1),
    )


def _kappa(means: Numbers) -> Numbers:
    """Return κ_p of means [..., 4] as `_of_item` gives them; NaN where chance is certain."""
    observed, ours, theirs, spread = np.moveaxis(means, -1, 0)
    by_chance = ours * theirs + spread * (1.0 - ours) * (1.0 - theirs)
    headroom = 1.0 - by_chance
    possible = headroom > 1e-12
    kappa: Numbers = np.where(
        possible, (observed - by_chance) / np.where(possible, headroom, 1.0), np.nan
    )
    return kappa


def _phi(errors: Sequence[tuple[bool, bool]]) -> Estimate | None:
    n = len(errors)
    if n < 4:
        return None
    ours, theirs = (sum(side) / n for side in zip(*errors, strict=True))
    scale = sqrt(ours * (1 - ours) * theirs * (1 - theirs))
    if scale < 1e-12:
        return None
    joint = sum(a and b for a, b in errors) / n
    r = max(-1.0, min(1.0, (joint - ours * theirs) / scale))
    if abs(r) > 1.0 - 1e-12:
        return Estimate(r, r, r, n)
    around = normal(atanh(r), 1.0 / sqrt(n - 3), n)
    return Estimate(r, tanh(around.least), tanh(around.most), n)


def _matrix(width: int, cell: Callable[[int, int], Estimate | None]) -> Matrix:
    matrix: Matrix = [[None] * width for _ in range(width)]
    for a in range(width):
        for b in range(a, width):
            matrix[a][b] = matrix[b][a] = cell(a, b)
    return matrix
