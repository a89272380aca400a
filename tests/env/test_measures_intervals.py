"""Intervals against independent references."""

from math import inf

import numpy as np
import pytest
from scipy import stats

from superalign_env.measures import census, difference, mean, normal, share, two_sided


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (3, 10), (40, 100), (1, 1)])
def test_shares_have_wilson_intervals(k, n):
    found = share(k, n)
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.low <= found.value <= found.high
    assert found.value == k / n


def test_means_have_student_intervals():
    values = np.random.Generator(np.random.Philox(key=3)).normal(2.0, 1.0, 12).tolist()
    low, high = stats.t.interval(0.95, 11, np.mean(values), stats.sem(values))
    assert mean(values)[1:3] == pytest.approx((low, high))


def test_one_observation_has_no_interval_and_nothing_is_sure_of_it():
    alone = mean([4.0])
    assert alone == difference([5.0], [1.0]) == (4.0, None, None, 1)
    assert (alone.least, alone.most) == (-inf, inf)
    assert alone.said() == "4.00 (n = 1)"
    assert share(1, 1).low > 0, "a share of one has Wilson's"
    assert census([4.0]) == (4.0, 4.0, 4.0, 1), "all that there are were counted"
    assert mean([0.0, 1.0]).said(1, sign=True) == "+0.5 [-5.9, +6.9]"


def test_differences_are_paired():
    ours, theirs = [1.0, 2.0, 4.0], [0.5, 1.0, 3.5]
    assert difference(ours, theirs) == mean([0.5, 1.0, 0.5])
    with pytest.raises(ValueError, match="no pairs"):
        difference([1.0], [])


def test_two_sides_cover_the_truth_as_often_as_they_say():
    rng = np.random.Generator(np.random.Philox(key=8))
    hits = 0
    for a, b in rng.binomial([60, 40], [0.9, 0.7], size=(800, 2)):
        found = two_sided(share(int(a), 60), share(int(b), 40))
        hits += found.low <= 0.8 <= found.high
    assert 0.93 <= hits / 800 <= 0.98


def test_nothing_observed_is_an_error():
    for call in (lambda: share(0, 0), lambda: share(3, 2), lambda: mean([])):
        with pytest.raises(ValueError):
            call()


def test_a_whole_population_has_a_mean_without_doubt():
    assert census([0.0, 1.0, 1.0, 1.0]) == (0.75, 0.75, 0.75, 4)
    with pytest.raises(ValueError, match="empty population"):
        census([])


def test_a_normal_belief_has_the_interval_of_its_quantiles():
    found = normal(25.0, 2.0, 9)
    assert (found.low, found.high) == pytest.approx(stats.norm(25, 2).interval(0.95))
    with pytest.raises(ValueError, match="deviation"):
        normal(0.0, -1.0, 1)
