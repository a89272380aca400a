"""Rates corrected by a confusion matrix: known cases, coverage, errors that differ by arm."""

import numpy as np
import pytest

from superalign_env.measures import (
    Confusion,
    cohen_kappa,
    confusion,
    corrected_arms,
    corrected_rates,
)
from superalign_env.seeding import generator

TWO = ("refusal", "other")
PERFECT = Confusion(TWO, ((50, 0), (0, 50)))
ROUGH = Confusion(TWO, ((80, 20), (10, 90)))


def test_two_kinds_are_corrected_as_rogan_and_gladen_do():
    rates = corrected_rates({"refusal": 450, "other": 550}, ROUGH)
    assert rates["refusal"].value == pytest.approx((0.45 + 0.9 - 1) / (0.8 + 0.9 - 1))
    assert rates["refusal"].value + rates["other"].value == pytest.approx(1)
    assert rates["refusal"].low < 0.5 < rates["refusal"].high and rates["refusal"].n == 1000


def test_shares_stay_shares():
    rates = corrected_rates({"refusal": 5, "other": 95}, ROUGH)  # fewer than false alarms
    assert rates["refusal"].value == rates["refusal"].low == 0
    assert corrected_rates({"refusal": 100}, PERFECT)["refusal"].value == 1


def test_the_interval_knows_both_samples():
    few = Confusion(TWO, ((8, 2), (1, 9)))
    read = {"refusal": 450, "other": 550}

    def width(errors, counts):
        estimate = corrected_rates(counts, errors)["refusal"]
        return estimate.high - estimate.low

    assert width(few, read) > 2 * width(ROUGH, read)
    assert width(ROUGH, {"refusal": 45, "other": 55}) > width(ROUGH, read)


def test_four_kinds_are_found_again():
    kinds = ("a", "b", "c", "d")
    counts = ((90, 5, 3, 2), (4, 90, 4, 2), (10, 20, 65, 5), (1, 14, 5, 80))
    truth = np.array([0.4, 0.3, 0.2, 0.1])
    read = truth @ (np.array(counts) / 100) * 10_000
    rates = corrected_rates(
        dict(zip(kinds, read.round().astype(int), strict=True)), Confusion(kinds, counts)
    )
    assert [rates[kind].value for kind in kinds] == pytest.approx(truth, abs=1e-3)


@pytest.mark.parametrize("true_share", [0.02, 0.5])
def test_nineteen_of_twenty_intervals_hold_the_truth(true_share):
    rng = generator(7)
    matrix = np.array([[0.85, 0.1, 0.05], [0.05, 0.9, 0.05], [0.1, 0.15, 0.75]])
    truth = np.array([true_share, 0.9 - true_share, 0.1])
    kinds, held, raw = ("a", "b", "c"), 0, 0
    for trial in range(200):
        labelled = [rng.multinomial(60, row) for row in matrix]
        read = rng.multinomial(300, truth @ matrix)
        estimate = corrected_rates(
            dict(zip(kinds, map(int, read), strict=True)),
            Confusion(kinds, tuple(tuple(map(int, row)) for row in labelled)),
            resamples=400,
            seed=trial,
        )["a"]
        held += estimate.low <= true_share <= estimate.high
        raw += abs(read[0] / 300 - true_share) <= 1.96 * np.sqrt(
            read[0] * (300 - read[0]) / 300**3
        )
    assert 0.91 <= held / 200 <= 1.0
    assert raw < held, "uncorrected shares are biased"


def test_differing_errors_are_said_and_corrected():
    read = {
        "before": {"refusal": 270, "other": 330},
        "after": {"refusal": 180, "other": 420},
    }
    same = corrected_arms(read, {"before": ROUGH, "after": ROUGH})
    assert not same.differing and same.differences["after"]["refusal"].high < 0
    worse = Confusion(TWO, ((50, 50), (10, 90)))
    with pytest.warns(RuntimeWarning, match="errors differ between the arms"):
        told = corrected_arms(read, {"before": ROUGH, "after": worse})
    assert "refusal answers of before at 0.80" in told.differing[0]
    difference = told.differences["after"]["refusal"]
    assert difference.low < 0 < difference.high and abs(difference.value) < 0.02


def test_labels_become_a_matrix():
    errors = confusion([("refusal", "refusal")] * 3 + [("other", "refusal")], TWO)
    assert errors.counts == ((3, 0), (1, 0))
    assert errors.recall("refusal").value == 1 and errors.precision("refusal").value == 0.75
    assert errors.accuracy.value == 0.75


def test_agreement_beyond_chance():
    kappa = cohen_kappa(list("aabbab"), list("aabbba"))
    assert kappa.value == pytest.approx(1 / 3) and kappa.low < 1 / 3 < kappa.high
    assert cohen_kappa(list("abab"), list("abab")).value == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: corrected_rates({}, ROUGH), "count answers"),
        (lambda: corrected_rates({"maybe": 3}, ROUGH), "count answers"),
        (
            lambda: corrected_rates({"other": 3}, Confusion(TWO, ((0, 0), (1, 9)))),
            "label some",
        ),
        (lambda: corrected_rates({"other": 3}, Confusion(TWO, ((5, 5), (5, 5)))), "apart"),
        (lambda: corrected_arms({"x": {"other": 3}}, {"y": ROUGH}), "every arm"),
        (lambda: confusion([("a", "refusal")], TWO), "not both kinds"),
        (lambda: cohen_kappa(["a"], []), "no pairs"),
        (lambda: cohen_kappa(["a"], ["a"]), "one kind alone"),
    ],
)
def test_numbers_without_a_correction_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
