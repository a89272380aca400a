"""Whether two things go up together."""

from collections.abc import Sequence
from math import atanh, sqrt, tanh

from superalign_env.measures.intervals import Estimate, normal


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
    from scipy.stats import spearmanr  # type: ignore[import-untyped] # ships no types # noqa: PLC0415 - slow

    r = float(spearmanr(ours, theirs).statistic)
    if abs(r) >= 1.0:
        return Estimate(r, r, r, n)
    around = normal(atanh(r), sqrt((1.0 + r * r / 2.0) / (n - 3)), n)
    return Estimate(r, tanh(around.least), tanh(around.most), n)
