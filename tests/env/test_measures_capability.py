"""Capacity, utility, what was recovered, imitation: published numbers and planted ones."""

import pytest

from superalign_env.measures import (
    difference,
    elicitation_gap,
    generation_gap,
    imitation,
    performance_gap_recovered,
    recovered,
    saliency,
)
from superalign_env.seeding import generator


def scores(accuracy, n=4000, seed=0):
    rng = generator(seed)
    return [float(rng.random() < accuracy) for _ in range(n)]


def test_the_vision_table_of_burns_et_al_is_reproduced():
    assert recovered(56.6, 61.9, 64.5) == pytest.approx(0.67, abs=0.005)
    assert recovered(56.6, 66.6, 74.0) == pytest.approx(0.57, abs=0.005)


@pytest.mark.parametrize("ceiling", [0.64, 0.6, 0.5, 0.3])
def test_a_ceiling_that_is_hardly_above_the_teacher_leaves_nothing_to_recover(ceiling):
    assert recovered(0.6, 0.62, ceiling) is None


def test_at_the_ceiling_all_is_recovered_and_at_the_teacher_nothing():
    assert recovered(0.6, 0.9, 0.9) == pytest.approx(1.0)
    assert recovered(0.6, 0.6, 0.9) == 0.0
    assert recovered(0.6, 0.5, 0.9) < 0
    with pytest.raises(ValueError, match="above zero"):
        recovered(0.6, 0.7, 0.8, guard=0.0)


def test_per_item_scores_give_the_same_ratio_with_an_interval_around_it():
    weak, student, ceiling = scores(0.6), scores(0.75, seed=1), scores(0.9, seed=2)
    found = performance_gap_recovered(weak, student, ceiling, resamples=1000)
    assert found.estimate is not None
    means = [sum(s) / len(s) for s in (weak, student, ceiling)]
    assert found.estimate.value == pytest.approx(recovered(*means))
    assert found.estimate.low < 0.5 < found.estimate.high
    assert found.estimate.high - found.estimate.low < 0.25


def test_a_denominator_that_may_be_nothing_is_refused_though_its_mean_is_above_the_guard():
    weak, ceiling = scores(0.6, 40), scores(0.72, 40, seed=1)
    found = performance_gap_recovered(weak, weak, ceiling, resamples=1000)
    assert found.denominator.value > 0.05
    assert found.denominator.low < 0.05
    assert found.estimate is None
    with pytest.raises(ValueError, match="same items"):
        performance_gap_recovered(weak, weak, ceiling[1:])


def test_imitation_counts_only_items_on_which_the_teacher_is_wrong():
    teacher = ["x", "x", "b", "b", "b"]
    right = [True, True, False, False, False]
    found = imitation(
        ["x", "x", "b", "b", "a"], teacher, right, ceiling=["x", "x", "b", "a", "a"]
    )
    assert found is not None
    assert found.rate.value == pytest.approx(2 / 3)
    assert found.rate.n == 3
    assert found.ceiling.value == pytest.approx(1 / 3)
    assert found.excess.value == pytest.approx(1 / 3)
    assert imitation(["x"], ["x"], [True], ceiling=["x"]) is None


def test_a_copy_imitates_fully_and_an_expert_never():
    truth = ["a"] * 50
    teacher = ["b"] * 50
    right = [False] * 50
    copied = imitation(teacher, teacher, right, ceiling=truth)
    assert copied is not None
    assert (copied.rate.value, copied.ceiling.value) == (1.0, 0.0)
    assert copied.excess.low == 1.0


def test_gaps_are_paired_differences_with_their_sign():
    able, shown = [1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]
    assert elicitation_gap(able, shown) == difference(able, shown)
    assert generation_gap(able, shown).value == 0.5
    assert saliency(shown, able).value == 0.5
    with pytest.raises(ValueError, match="no pairs"):
        elicitation_gap(able, shown[1:])
