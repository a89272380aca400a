"""Calibration of stated probabilities."""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

from superalign_env.measures.intervals import Estimate, mean, share


class Bin(NamedTuple):
    """One bin of a reliability diagram."""

    low: float
    high: float
    """Statements lie in [low, high), in the last bin also at high."""
    stated: float
    """Their mean."""
    outcome: Estimate
    """Share that came true, with its interval; n is the number of statements."""


def brier(probabilities: Sequence[float], outcomes: Sequence[float]) -> Estimate:
    """Return the mean squared error of probabilities with its interval (Brier 1950).

    0 is perfect, 0.25 is what always saying one half gets.

    Args:
        probabilities: in [0, 1].
        outcomes: what came true, 0 or 1 (or a share in between).

    Raises:
        ValueError: nothing to score, or not one outcome for each probability.
    """
    _check(probabilities, outcomes)
    return mean([(p - y) ** 2 for p, y in zip(probabilities, outcomes, strict=True)])


def calibration_error(
    probabilities: Sequence[float], outcomes: Sequence[float], *, bins: int = 10
) -> float:
    """Return the expected calibration error (Naeini et al. 2015), bins of equal width.

    The gap between what was stated and what came true, averaged over bins by how many
    statements fell into them. It shrinks with fewer bins and grows with fewer
    statements: compare only at equal numbers of both.

    Raises:
        ValueError: as `brier`, or fewer than one bin.
    """
    gaps = [
        abs(sum([p - y for p, y in zip(stated, outcomes_there, strict=True)]))
        for _, (stated, outcomes_there) in sorted(
            _binned(probabilities, outcomes, bins).items()
        )
    ]
    return sum(gaps) / len(probabilities)


def reliability(
    probabilities: Sequence[float], outcomes: Sequence[float], *, bins: int = 10
) -> list[Bin]:
    """Return stated probabilities and outcomes bin by bin (reliability diagram).

    Bins are of equal width and ascending; those that nothing fell into are left out.
    Their gaps, weighted by n, make the calibration error.

    Raises:
        ValueError: as `calibration_error`.
    """
    binned = _binned(probabilities, outcomes, bins)
    return [
        Bin(
            place / bins,
            (place + 1) / bins,
            fsum(stated) / len(stated),
            _share_of(outcomes_there),
        )
        for place, (stated, outcomes_there) in sorted(binned.items())
    ]


def _share_of(outcomes: Sequence[float]) -> Estimate:
    """Return a share where every outcome is 0 or 1, else a mean."""
    if all([outcome in (0.0, 1.0) for outcome in outcomes]):
        return share(sum(outcomes), len(outcomes))
    return mean(outcomes)


def _binned(
    probabilities: Sequence[float], outcomes: Sequence[float], bins: int
) -> dict[int, tuple[list[float], list[float]]]:
    """Return number of the bin → (probabilities, outcomes)."""
    _check(probabilities, outcomes)
    if bins < 1:
        raise ValueError(f"at least one bin is needed, not {bins}")
    binned: dict[int, tuple[list[float], list[float]]] = {}
    for p, y in zip(probabilities, outcomes, strict=True):
        stated, outcomes_there = binned.setdefault(min(int(p * bins), bins - 1), ([], []))
        stated.append(p)
        outcomes_there.append(y)
    return binned


def _check(probabilities: Sequence[float], outcomes: Sequence[float]) -> None:
    if not probabilities or len(probabilities) != len(outcomes):
        raise ValueError(
            f"{len(probabilities)} probabilities and {len(outcomes)} outcomes make no pairs"
        )
    for p in probabilities:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{p} is no probability")
