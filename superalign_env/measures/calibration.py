"""Whether stated probabilities come true."""

from collections.abc import Sequence

from superalign_env.measures.intervals import Estimate, mean


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
    _check(probabilities, outcomes)
    if bins < 1:
        raise ValueError(f"at least one bin is needed, not {bins}")
    counts = [0] * bins
    gaps = [0.0] * bins
    for p, y in zip(probabilities, outcomes, strict=True):
        place = min(int(p * bins), bins - 1)
        counts[place] += 1
        gaps[place] += p - y
    return sum([abs(gap) for gap in gaps]) / sum(counts)


def _check(probabilities: Sequence[float], outcomes: Sequence[float]) -> None:
    if not probabilities or len(probabilities) != len(outcomes):
        raise ValueError(
            f"{len(probabilities)} probabilities and {len(outcomes)} outcomes make no pairs"
        )
    for p in probabilities:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{p} is no probability")
