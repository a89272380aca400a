"""Named parts, weights, late labels and vetoes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.rewards import VETOED, paid, seat_weights, settle, totals
from superalign_env.types import Judged, Reward, Signal, Verdict

WEIGHTS = {
    "learner": {"critic": 1.0, "human": 0.5, "cost": 0.1, "off": 0.0},
    "critic": {"human": 1},
}

seats = st.sampled_from(["learner_0", "learner_1", "critic_0", "stranger_0"])
parts = st.sampled_from(["critic", "human", "cost", "off", "truth"])
rewards = st.lists(
    st.builds(Reward, seats, parts, st.integers(-8, 8).map(float), st.integers(0, 3))
)


def label(turn, value, kind="label"):
    return Signal(kind, "e", turn, "human:ann", value)


def test_a_part_without_weight_is_recorded_but_not_paid():
    assert paid(Reward("learner_0", "cost", 5.0), WEIGHTS) == 0.5
    for part in ("off", "truth"):
        assert paid(Reward("learner_0", part, 5.0), WEIGHTS) is None
    assert paid(Reward("stranger_0", "critic", 5.0), WEIGHTS) is None
    assert paid(Reward("learner_0", "critic", 0.0), WEIGHTS) == 0.0


@given(rewards)
def test_pay_adds_up_and_order_does_not_matter(many):
    assert totals(many, WEIGHTS) == pytest.approx(totals(many[::-1], WEIGHTS))
    settled = settle(many, WEIGHTS)
    for seat, total in totals(many, WEIGHTS).items():
        assert sum(v for (s, _), v in settled.items() if s == seat) == pytest.approx(total)


@given(rewards, rewards)
def test_pay_is_additive(some, more):
    both = totals(some + more, WEIGHTS)
    one, other = totals(some, WEIGHTS), totals(more, WEIGHTS)
    assert both.keys() == one.keys() | other.keys()
    for seat in both:
        assert both[seat] == pytest.approx(one.get(seat, 0.0) + other.get(seat, 0.0))


@given(rewards, st.floats(0.5, 4))
def test_pay_grows_with_the_weights(many, factor):
    heavier = {r: {p: w * factor for p, w in row.items()} for r, row in WEIGHTS.items()}
    expected = {seat: total * factor for seat, total in totals(many, WEIGHTS).items()}
    assert totals(many, heavier) == pytest.approx(expected)


@given(rewards)
def test_the_table_of_weights_pays_as_the_single_lookup_does(many):
    table = seat_weights({r.seat for r in many}, WEIGHTS)
    assert table.keys() == {reward.seat for reward in many}
    for reward in many:
        weight = table[reward.seat].get(reward.part)
        expected = paid(reward, WEIGHTS)
        assert (weight * reward.value if weight else None) == expected


def test_a_label_pays_the_author_and_a_shrug_pays_nothing():
    authors = {0: "learner_0", 1: "critic_0"}
    for value, expected in ((1.0, 0.5), (0.0, -0.5), (0.5, 0.0), (0.75, 0.25)):
        pay = settle([], WEIGHTS, authors=authors, signals=[label(0, value)])
        assert pay == {("learner_0", 0): pytest.approx(expected)}


def test_several_labels_of_a_turn_are_averaged():
    signals = [label(0, 1.0), label(0, 1.0), label(0, 0.25)]
    pay = settle([], WEIGHTS, authors={0: "learner_0"}, signals=signals)
    assert pay["learner_0", 0] == pytest.approx(0.5 * (2 * 0.75 - 1))


def test_a_label_pays_every_critic_by_how_right_it_was():
    judged = [
        Judged("critic_0", 0, Verdict(1.0), 2),
        Judged("critic_1", 0, Verdict(0.5), 3),
        Judged("critic_2", 1, Verdict(1.0), 4),
        Judged("critic_3", 0, None, 5),
    ]
    pay = settle(
        [], WEIGHTS, authors={0: "learner_0"}, signals=[label(0, 1.0)], judged=judged
    )
    assert pay["critic_0", 2] == 1.0 and pay["critic_1", 3] == 0.5
    assert ("critic_2", 4) not in pay, "its verdict is about a turn without a label"
    assert ("critic_3", 5) not in pay, "nobody could read what it said"


def test_a_label_about_a_planted_answer_pays_critics_only():
    pay = settle(
        [],
        WEIGHTS,
        authors={0: "critic_0"},
        signals=[label(-1, 0.0)],
        judged=[Judged("critic_0", -1, Verdict(0.0), 0)],
    )
    assert pay == {("critic_0", 0): 1.0}


@given(rewards, st.lists(st.integers(0, 1).map(float), max_size=3))
def test_a_veto_always_wins(many, labels):
    signals = [label(1, value) for value in labels] + [label(1, 1.0, "veto")]
    pay = settle(many, WEIGHTS, authors={1: "learner_0"}, signals=signals)
    assert pay["learner_0", 1] == VETOED


def test_other_signals_pay_nothing():
    signals = [label(0, 1.0, kind) for kind in ("verdict", "vote", "preference", "skip")]
    assert settle([], WEIGHTS, authors={0: "learner_0"}, signals=signals) == {}
