"""Calibration and diversity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.measures import brier, calibration_error, distinct_n, distinct_share

units = st.floats(0, 1)
pairs = st.lists(st.tuples(units, st.integers(0, 1)), min_size=1, max_size=40)


@given(pairs)
def test_brier_and_calibration_lie_in_the_unit_interval(stated):
    said, came = zip(*stated, strict=True)
    assert 0 <= brier(said, came).value <= 1
    assert 0 <= calibration_error(said, came) <= 1


@given(st.lists(st.integers(0, 1), min_size=1))
def test_who_is_sure_and_right_is_perfect_and_sure_and_wrong_is_worst(came):
    wrong = [1 - y for y in came]
    assert brier(came, came).value == calibration_error(came, came) == 0
    assert brier(wrong, came).value == calibration_error(wrong, came) == 1


@given(st.lists(st.integers(0, 1), min_size=1))
def test_a_half_costs_a_quarter(came):
    assert brier([0.5] * len(came), came).value == pytest.approx(0.25)


def test_calibration_is_worked_out_by_hand():
    said = [0.95, 0.95, 0.95, 0.95, 0.15, 0.15]
    came = [1, 1, 1, 0, 0, 1]
    assert calibration_error(said, came) == pytest.approx((4 * 0.2 + 2 * 0.35) / 6)
    assert calibration_error(said, came, bins=1) == pytest.approx(abs(4.1 - 4) / 6)
    assert calibration_error([1.0, 0.0], [1, 0]) == 0


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(stated, shuffler):
    other = list(stated)
    shuffler.shuffle(other)
    for measure in (calibration_error, lambda p, y: brier(p, y).value):
        assert measure(*zip(*stated, strict=True)) == pytest.approx(
            measure(*zip(*other, strict=True)), abs=1e-12
        )


@pytest.mark.parametrize(
    ("said", "came"),
    [([], []), ([0.5], []), ([1.5], [1]), ([-0.1], [0]), ([float("nan")], [0])],
)
def test_what_makes_no_pairs_of_probabilities_is_refused(said, came):
    with pytest.raises(ValueError):
        brier(said, came)
    with pytest.raises(ValueError):
        calibration_error(said, came)


def test_bins_are_counted_from_one():
    with pytest.raises(ValueError, match="one bin"):
        calibration_error([0.5], [1], bins=0)


def test_diversity_by_hand():
    assert distinct_share(["a", "b", "a", "a"]) == 0.5
    assert distinct_n(["a b c", "a b d"], 2) == pytest.approx(3 / 4)
    assert distinct_n(["a a a a"], 1) == 0.25
    assert distinct_n(["a", ""], 2) == 0.0


@given(st.lists(st.text("ab "), min_size=1), st.integers(1, 3))
def test_diversity_lies_in_the_unit_interval_and_falls_with_repetition(texts, n):
    assert 0 <= distinct_n(texts, n) <= 1 and 0 < distinct_share(texts) <= 1
    assert distinct_n(texts * 2, n) <= distinct_n(texts, n)
    assert distinct_share(texts * 2) == distinct_share(texts) / 2


def test_no_texts_have_no_diversity():
    with pytest.raises(ValueError, match="no texts"):
        distinct_share([])
    with pytest.raises(ValueError, match="at least one word"):
        distinct_n(["a"], 0)
