"""Disagreement, error correlation, CAPA, entropy and the Vendi score."""

from math import log

import numpy as np
import pytest

from superalign_env.errors import InvalidOption
from superalign_env.measures import (
    answer_entropy,
    capa,
    capa_matrix,
    disagreement,
    entropy,
    error_correlation,
    mean_disagreement,
    one_hot,
    vendi,
    vendi_score,
)
from superalign_env.seeding import generator

OPTIONS = ("a", "b", "c", "d")


def independent(accuracies, n=4000, seed=0):
    """Return truths and votes whose errors fall evenly and independently."""
    rng = generator(seed)
    truth = [OPTIONS[i] for i in rng.integers(4, size=n)]
    votes = []
    for right in truth:
        wrong = [o for o in OPTIONS if o != right]
        votes.append(
            [right if rng.random() < p else wrong[rng.integers(3)] for p in accuracies]
        )
    return truth, votes


def test_copies_err_together_and_independent_sources_do_not():
    truth, votes = independent([0.7, 0.8])
    found = error_correlation([[*row, row[0]] for row in votes], truth)
    assert found[0][2] == (1.0, 1.0, 1.0, 4000)
    assert found[0][0].value == 1.0
    assert found[0][1].low < 0 < found[0][1].high
    assert found[1][0] == found[0][1]


def test_errors_that_never_meet_correlate_below_zero():
    truth = ["a"] * 10
    votes = [["b", "a"]] * 5 + [["a", "b"]] * 5
    assert error_correlation(votes, truth)[0][1].value == -1.0


def test_nothing_is_said_of_sources_that_never_err_or_share_nothing():
    truth = ["a"] * 8
    votes = [["a", "b", None]] * 4 + [["a", "a", None]] * 4
    found = error_correlation(votes, truth)
    assert found[0][1] is None
    assert found[1][2] is None
    assert disagreement(votes)[1][2] is None
    assert disagreement(votes)[0][1].value == 0.5
    with pytest.raises(InvalidOption, match="one for each"):
        error_correlation(votes, truth[1:])


def test_mean_disagreement_is_over_pairs_and_nothing_for_one():
    assert mean_disagreement([["a", "a", "b"]] * 3) == pytest.approx(2 / 3)
    assert mean_disagreement([["a"]] * 3) == 0.0
    assert mean_disagreement([["a", None], [None, "b"]]) == 0.0


def test_capa_is_one_for_copies_and_zero_for_independent_errors():
    truth, votes = independent([0.7, 0.55])
    right = [OPTIONS.index(t) for t in truth]
    ours, theirs = one_hot(votes, [OPTIONS] * len(votes))
    assert capa(ours, ours, right, resamples=200).value == pytest.approx(1.0)
    apart = capa(ours, theirs, right, resamples=200)
    assert apart.low < 0 < apart.high
    assert abs(apart.value) < 0.05
    matrix = capa_matrix([ours, theirs], right, resamples=200)
    assert matrix[0][1] == matrix[1][0] == apart


def test_capa_is_worked_out_by_hand():
    ours = [[0.8, 0.2], [0.5, 0.5]]
    theirs = [[0.6, 0.4], [0.1, 0.9]]
    observed = ((0.48 + 0.08) + (0.05 + 0.45)) / 2
    a, b = (0.8 + 0.5) / 2, (0.6 + 0.9) / 2
    by_chance = a * b + (1 - a) * (1 - b)
    found = capa(ours, theirs, [0, 1], resamples=100)
    assert found.value == pytest.approx((observed - by_chance) / (1 - by_chance))


def test_two_equally_good_sources_that_err_alike_score_above_those_that_do_not():
    truth, votes = independent([0.7, 0.7])
    alike = [[a, a if a != t else b] for (a, b), t in zip(votes, truth, strict=True)]
    right = [OPTIONS.index(t) for t in truth]
    options = [OPTIONS] * len(votes)
    assert (
        capa(*one_hot(alike, options), right, resamples=200).low
        > capa(*one_hot(votes, options), right, resamples=200).high
    )


def test_capa_says_nothing_where_chance_explains_everything():
    assert capa([[1.0, 0.0]], [[1.0, 0.0]], [0]) is None
    with pytest.raises(InvalidOption, match="options"):
        capa([[1.0]], [[1.0]], [0])
    with pytest.raises(InvalidOption, match="no pairs"):
        capa([], [], [])
    with pytest.raises(InvalidOption, match="none of the options"):
        one_hot([[None]], [OPTIONS])


def test_entropy_is_largest_for_equal_shares():
    assert entropy([1, 1, 1, 1]) == pytest.approx(log(4))
    assert entropy([0.5, 0.25, 0.25]) == pytest.approx(1.5 * log(2))
    assert entropy([7, 0, 0]) == 0.0
    assert answer_entropy(["a", "b", "a", "b"]) == pytest.approx(log(2))
    for wrong in ([], [0.0], [1.0, -0.5]):
        with pytest.raises(ValueError):
            entropy(wrong)


def test_the_vendi_score_counts_what_is_different():
    assert vendi_score(np.eye(5)) == pytest.approx(5)
    assert vendi_score(np.ones((5, 5))) == pytest.approx(1)
    two_kinds = np.kron(np.eye(2), np.ones((3, 3)))
    assert vendi_score(two_kinds) == pytest.approx(2)
    assert vendi(["ann runs", "bob sleeps", "cat eats"]) == pytest.approx(3)
    assert vendi(["ann runs"] * 4) == pytest.approx(1)
    assert 1 < vendi(["ann runs", "ann sleeps"]) < 2
    assert vendi(["a b", "b a"]) == pytest.approx(1)
    assert vendi(["a b", "b a"], n=2) > 1
    assert vendi(["", "a"]) == pytest.approx(2)
    for wrong in (
        [[1.0, 2.0]],
        [[1.0, 0.5], [0.4, 1.0]],
        [[0.5]],
        [[1.0, 2.0], [2.0, 1.0]],
    ):
        with pytest.raises(ValueError):
            vendi_score(wrong)
