"""Comparisons over seeds, held against scipy by other routes and against published numbers."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from superalign_env.measures.comparisons import holm_adjusted, paired_difference, ratio
from superalign_env.measures.robust import average, interquartile_mean, stratified

STORED_IQM = -0.34416633356149545
numbers = st.floats(-1e6, 1e6)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- the interquartile mean ---------------------------------------------------------


@given(st.lists(numbers, min_size=1, max_size=40))
def test_interquartile_mean_is_scipys_trimmed_mean(values):
    wanted = stats.trim_mean(values, 0.25)
    assert interquartile_mean(values) == pytest.approx(wanted, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([1, 2, 3, 4], 2.5),
        ([5], 5.0),
        ([1, 2, 3], 2.0),
        ([0, 0, 1, 2, 3, 4, 1000, 1000], 2.5),
        ([-1000, 1, 2, 3, 4], 2.0),
    ],
)
def test_interquartile_mean_of_small_cases_by_hand(values, wanted):
    assert interquartile_mean(values) == wanted
    assert interquartile_mean(values[::-1]) == wanted


def test_interquartile_mean_of_a_stored_vector():
    """scipy.stats.trim_mean of the first 40 normal numbers of PCG64, seed 7."""
    values = normal(40, seed=7)
    assert interquartile_mean(values) == pytest.approx(STORED_IQM, abs=1e-12)
    assert stats.trim_mean(values, 0.25) == pytest.approx(STORED_IQM, abs=1e-12)


def test_interquartile_mean_works_along_the_last_axis():
    grid = normal(6, 11)
    wanted = stats.trim_mean(grid, 0.25, axis=1)
    assert interquartile_mean(grid) == pytest.approx(wanted)


def test_one_wild_seed_does_not_move_the_interquartile_mean():
    values = normal(20).tolist()
    assert interquartile_mean([*values[1:], 1e9]) == pytest.approx(
        interquartile_mean([*values[1:], 10.0])
    )


# --- the stratified bootstrap -------------------------------------------------------


def test_bootstrap_of_one_task_agrees_with_scipys():
    values = normal(30, seed=1)
    ours = stratified({"a": values.tolist()}, resamples=20_000)
    theirs = stats.bootstrap(
        (values,),
        lambda x, axis: stats.trim_mean(x, 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert ours.value == pytest.approx(stats.trim_mean(values, 0.25))
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.05 * width
    assert abs(ours.high - theirs.high) < 0.05 * width
    assert ours.n == 30


def test_tasks_keep_their_weight_in_every_resample():
    """Seeds agree within each task, so nothing is uncertain however far tasks lie apart."""
    scores = {"easy": [1.0] * 8, "hard": [0.0] * 8}
    assert stratified(scores, average) == (0.5, 0.5, 0.5, 16)
    mixed = stratified({"all": [1.0] * 8 + [0.0] * 8}, average)
    assert mixed.low < 0.35 and mixed.high > 0.65


def test_variance_of_a_stratified_mean_is_that_of_its_strata():
    scores = {"a": normal(12, seed=2).tolist(), "b": (9 * normal(24, seed=3)).tolist()}
    found = stratified(scores, average, resamples=40_000)
    share = [12 / 36, 24 / 36]
    variance = sum(
        w * w * np.var(v) / len(v) for w, v in zip(share, scores.values(), strict=True)
    )
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(variance**0.5, rel=0.04)


def test_the_same_seed_draws_the_same_interval_and_chunks_do_not_matter(monkeypatch):
    scores = {"a": normal(9).tolist(), "b": normal(5, seed=5).tolist()}
    whole = stratified(scores, resamples=2_000, seed=4)
    assert stratified(scores, resamples=2_000, seed=4) == whole
    assert stratified(scores, resamples=2_000, seed=5) != whole
    monkeypatch.setattr("superalign_env.measures.robust._AT_ONCE", 14 * 300)
    chunked = stratified(scores, resamples=2_000, seed=4)
    assert chunked.value == whole.value
    assert chunked.low == pytest.approx(whole.low, abs=0.1)


def test_single_seeds_know_no_spread():
    assert stratified({"a": [1.0], "b": [3.0]}, average) == (2.0, None, None, 2)


# --- paired differences -------------------------------------------------------------


def by_seed(values):
    return dict(enumerate(values.tolist()))


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=12))
def test_paired_t_test_agrees_with_scipys(pairs):
    ours, theirs = np.array(pairs).T
    found = paired_difference(by_seed(ours), by_seed(theirs), resamples=100)
    spread = np.std(ours - theirs)
    # Below that, scipy warns of cancellation, and so it should.
    assume(spread >= 1e-6 * max(1.0, np.abs(pairs).max()))
    wanted = stats.ttest_rel(ours, theirs)
    interval = wanted.confidence_interval()
    assert found.p == pytest.approx(wanted.pvalue, rel=1e-6, abs=1e-12)
    assert found.t.low == pytest.approx(interval.low, rel=1e-6, abs=1e-6)
    assert found.t.high == pytest.approx(interval.high, rel=1e-6, abs=1e-6)


def test_pairs_are_matched_by_seed_and_not_by_order():
    ours = {1: 1.0, 2: 2.0, 3: 3.5}
    theirs = {3: 3.0, 1: 0.5, 2: 1.5}
    found = paired_difference(ours, theirs)
    assert found.t == (0.5, 0.5, 0.5, 3)
    assert found.bootstrap == (0.5, 0.5, 0.5, 3)
    assert (found.p, found.wins) == (0.0, 1.0)


def test_shared_luck_is_taken_out():
    luck = 10 * normal(10)
    ours, theirs = luck + 0.5 + 0.1 * normal(10, seed=1), luck
    found = paired_difference(by_seed(ours), by_seed(theirs))
    assert 0 < found.t.low < 0.5 < found.t.high < 1
    assert 0 < found.bootstrap.low < 0.5 < found.bootstrap.high < 1
    assert found.p < 1e-3
    assert stats.ttest_ind(ours, theirs).pvalue > 0.5


def test_swapping_sides_turns_everything_round():
    ours, theirs = by_seed(normal(8)), by_seed(normal(8, seed=1))
    one, other = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert other.t.value == pytest.approx(-one.t.value)
    assert other.t.low == pytest.approx(-one.t.high)
    assert other.p == pytest.approx(one.p)
    assert other.wins == pytest.approx(1 - one.wins)


def test_of_five_seeds_the_t_interval_covers_and_the_bootstrap_does_not():
    """Why `t` is the one to report: 95 % promised, 600 repetitions of five seeds."""
    cover = {"t": 0, "bootstrap": 0}
    zero = dict.fromkeys(range(5), 0.0)
    for number in range(600):
        found = paired_difference(by_seed(normal(5, seed=number)), zero, resamples=400)
        cover["t"] += found.t.low <= 0 <= found.t.high
        cover["bootstrap"] += found.bootstrap.low <= 0 <= found.bootstrap.high
    assert 0.93 < cover["t"] / 600 < 0.975
    assert 0.75 < cover["bootstrap"] / 600 < 0.90


def test_ties_count_half_and_no_difference_is_no_evidence():
    same = {1: 2.0, 2: 2.0}
    assert paired_difference(same, same)[2:] == (1.0, 0.5)
    assert paired_difference({"a": 9.0}, {"a": 0.0}).p == 1.0


def test_seeds_that_only_one_side_has_are_refused():
    with pytest.raises(ValueError, match="2, 3 are on one side only"):
        paired_difference({1: 0.0, 2: 0.0}, {1: 0.0, 3: 0.0})


# --- ratios -------------------------------------------------------------------------


def test_ratio_interval_agrees_with_scipys_paired_bootstrap():
    bottoms = 2 + 0.3 * normal(20)
    tops = 0.6 * bottoms + 0.1 * normal(20, seed=1)
    found = ratio(tops.tolist(), bottoms.tolist(), guard=0.1, resamples=20_000)
    wanted = stats.bootstrap(
        (tops, bottoms),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(9),
    ).confidence_interval
    assert found.estimate.value == pytest.approx(tops.mean() / bottoms.mean())
    assert found.estimate.low == pytest.approx(wanted.low, abs=0.004)
    assert found.estimate.high == pytest.approx(wanted.high, abs=0.004)


def test_numerator_and_denominator_are_drawn_together():
    """When they move together the ratio is certain, whatever each of them does."""
    bottoms = (5 + normal(12)).tolist()
    found = ratio([0.5 * value for value in bottoms], bottoms, guard=0.5)
    assert found.estimate == pytest.approx((0.5, 0.5, 0.5, 12))
    assert found.numerator.high - found.numerator.low > 0.3
    assert found.denominator.high - found.denominator.low > 0.6


def test_a_ratio_over_what_may_be_nothing_is_undefined():
    tops, bottoms = [0.1] * 6, [0.3, -0.2, 0.1, 0.2, -0.1, 0.3]
    found = ratio(tops, bottoms, guard=0.01)
    assert found.estimate is None
    assert found.denominator.low <= 0.01 < found.denominator.value
    assert found.numerator.value == pytest.approx(0.1)
    assert ratio(tops, [0.3] * 6, guard=0.31).estimate is None
    assert ratio(tops, [0.3] * 6, guard=0.29).estimate is not None
    assert ratio(tops, [-0.3] * 6, guard=0.01).estimate is None


def test_rare_resamples_without_a_denominator_cannot_explode():
    """Four or more of the bad seed (1.3 % of resamples) leave nothing to divide by."""
    found = ratio([0.5] * 10, [1.0] * 9 + [-1.5], guard=0.1)
    assert found.denominator.low == pytest.approx(0.25)
    assert found.estimate == pytest.approx((0.5 / 0.75, 0.5, 2.0, 10))


# --- many comparisons ---------------------------------------------------------------


def test_holm_agrees_with_a_stored_example():
    """R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    found = holm_adjusted({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(found) == ["a", "b", "c", "d"]


@given(st.lists(st.floats(0, 1), max_size=9), st.floats(0.001, 0.2))
def test_holm_rejects_what_the_step_down_procedure_rejects(values, alpha):
    found = holm_adjusted(dict(enumerate(values)))
    rejected = set()
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[place] * (len(values) - rank) > alpha:
            break
        rejected.add(place)
    assert {place for place, p in found.items() if p <= alpha} == rejected
    assert all(p >= values[place] for place, p in found.items())


# --- what makes no sense ------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: interquartile_mean([]), "no observations"),
        (lambda: stratified({}), "no tasks"),
        (lambda: stratified({"a": []}), "'a' must be a sequence of at least one"),
        (lambda: stratified({"a": [1.0, float("nan")]}), "'a' hold NaN"),
        (lambda: stratified({"a": [1.0, 2.0]}, resamples=99), "at least 100"),
        (lambda: paired_difference({}, {}), "no cells"),
        (lambda: paired_difference({1: float("inf")}, {1: 0.0}), "NaN or infinity"),
        (lambda: ratio([1.0], [1.0, 2.0], guard=0.1), "no pairs"),
        (lambda: ratio([1.0], [1.0], guard=0.0), "above zero"),
        (lambda: ratio([1.0], [1.0], guard=float("nan")), "above zero"),
        (lambda: holm_adjusted({"a": 1.5}), "not in"),
        (lambda: holm_adjusted({"a": float("nan")}), "not in"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
