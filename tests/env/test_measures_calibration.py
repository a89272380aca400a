"""Reliability tables and rank correlations against independent references."""

import numpy as np
import pytest
from scipy import stats

from superalign_env.measures import (
    calibration_error,
    rank_correlation,
    reliability,
    share,
)


def test_bins_hold_what_was_stated_and_what_came_true():
    table = reliability([0.05, 0.0, 0.95, 1.0, 0.5], [0, 1, 1, 1, 0], bins=10)
    assert [(bin.low, bin.outcome.n) for bin in table] == [(0.0, 2), (0.5, 1), (0.9, 2)]
    assert [bin.stated for bin in table] == pytest.approx([0.025, 0.5, 0.975])
    assert table[0].outcome == share(1, 2)
    assert table[2].outcome == share(2, 2)


def test_gaps_of_the_table_make_the_calibration_error():
    rng = np.random.default_rng(4)
    stated = rng.random(500)
    came = (rng.random(500) < stated**2).astype(float)
    table = reliability(stated.tolist(), came.tolist(), bins=7)
    weighted = sum(b.outcome.n * abs(b.stated - b.outcome.value) for b in table) / 500
    assert weighted == pytest.approx(
        calibration_error(stated.tolist(), came.tolist(), bins=7)
    )
    assert sum(b.outcome.n for b in table) == 500


def test_who_is_calibrated_has_bins_that_cover_what_was_stated():
    """Of 2,000 tables' bins about 95 % hold the mean stated (Wilson)."""
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(200):
        stated = rng.random(400)
        came = (rng.random(400) < stated).astype(float)
        hits += [
            b.outcome.low <= b.stated <= b.outcome.high
            for b in reliability(stated.tolist(), came.tolist())
        ]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.03)


def test_outcomes_may_be_shares():
    [only] = reliability([0.3, 0.3, 0.3], [0.2, 0.4, 0.6], bins=2)
    assert only.outcome.value == pytest.approx(0.4)


@pytest.mark.parametrize(("stated", "came"), [([], []), ([0.5], []), ([1.5], [1])])
def test_statements_that_are_no_probabilities_are_refused(stated, came):
    with pytest.raises(ValueError, match=r"pairs|probability"):
        reliability(stated, came)


def test_rank_correlation_is_spearmans_and_its_interval_covers():
    rng = np.random.default_rng(6)
    covered = []
    for _ in range(300):
        x = rng.standard_normal(60)
        y = 0.5 * x + rng.standard_normal(60) * np.sqrt(0.75)
        found = rank_correlation(x.tolist(), y.tolist())
        assert found.value == pytest.approx(stats.spearmanr(x, y).statistic)
        # Spearman's rho of a bivariate normal with Pearson's 0.5.
        covered.append(found.low <= 6 / np.pi * np.arcsin(0.25) <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


def test_what_never_varies_has_no_correlation():
    assert rank_correlation([1.0] * 9, list(range(9))) is None
    assert rank_correlation([1.0, 2.0], [1.0, 2.0]) is None
    assert rank_correlation(range(9), range(9)) == (1.0, 1.0, 1.0, 9)
    with pytest.raises(ValueError, match="no pairs"):
        rank_correlation([1.0], [])
