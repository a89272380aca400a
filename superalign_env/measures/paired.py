"""Two methods on the same seeds: the difference that is left when luck is shared."""

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple, TypeVar

from superalign_env.measures.intervals import Estimate, mean
from superalign_env.measures.robust import average, finite, stratified

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
