"""Named parts, weights, late labels and vetoes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.rewards import (
    ADDED,
    BINS,
    PRIOR,
    Correction,
    HumanPay,
    by_episode,
    paid,
    score_of,
    seat_weights,
    settle,
    totals,
)
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


def test_a_label_replaces_what_its_author_is_paid_for_that_turn_and_nothing_else():
    parts = [
        Reward("learner_0", "critic", 0.25, 0),
        Reward("learner_1", "critic", 0.5, 0),  # for a turn of somebody else
        Reward("learner_0", "critic", 0.75, 1),  # at a turn of somebody else
    ]
    pay = settle(
        parts,
        WEIGHTS,
        authors={0: "learner_0", 1: "critic_0"},
        signals=[label(0, 1.0)],
        rules=HumanPay("override", ("critic",)),
    )
    assert pay == {
        ("learner_0", 0): 0.5,
        ("learner_1", 0): 0.5,
        ("learner_0", 1): 0.75,
    }


def test_only_opinions_about_judged_turns_are_corrected():
    harsh = Correction([("critic", 0.75, 0.0), ("critic", 0.25, 1.0)] * 12)
    parts = [Reward("learner_1", "critic", -0.5, 0), Reward("learner_0", "critic", 0.5, 1)]
    authors = {0: "learner_1", 1: "learner_0", 2: "critic_0"}
    rules = HumanPay("debias", ("critic",), correction=harsh)
    judged = [Judged("critic_0", 1, Verdict(0.75), 2)]
    pay = settle(parts, WEIGHTS, authors=authors, judged=judged, rules=rules)
    assert pay["learner_1", 0] == -0.5 and pay["learner_0", 1] < 0
    # Where nobody judges, every opinion is about its turn.
    pay = settle(parts, WEIGHTS, authors=authors, rules=rules)
    assert pay["learner_1", 0] > 0 > pay["learner_0", 1]


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


@given(rewards, st.lists(st.integers(0, 1).map(float), max_size=3), st.floats(-3, 0))
def test_a_veto_always_wins(many, labels, lowest):
    signals = [label(1, value) for value in labels] + [label(1, 1.0, "veto")]
    signals += [prefer(1, 0, 1.0)]
    for use in ("override", "add", "debias"):
        rules = HumanPay(use, ("critic",), lowest, Correction())
        pay = settle(many, WEIGHTS, authors={1: "learner_0"}, signals=signals, rules=rules)
        assert pay["learner_0", 1] == lowest


def test_verdicts_about_a_vetoed_turn_are_paid_as_against_a_label_of_0():
    judged = [
        Judged("critic_0", 0, Verdict(1.0), 2),
        Judged("critic_1", 0, Verdict(0.0), 3),
    ]
    vetoed = [label(0, 1.0, "veto")]
    for signals in (vetoed, [label(0, 1.0), *vetoed]):
        pay = settle([], WEIGHTS, authors={0: "learner_0"}, signals=signals, judged=judged)
        assert (pay["critic_0", 2], pay["critic_1", 3]) == (-1.0, 1.0)


def test_human_has_weight_1_unless_the_scenario_says_otherwise():
    for weights, expected in (({}, 1.0), ({"learner": {"human": 0.0}}, 0.0)):
        pay = settle([], weights, authors={0: "learner_0"}, signals=[label(0, 1.0)])
        assert pay["learner_0", 0] == expected


OPINED = [
    Reward("learner_0", "critic", 1.0, 0),
    Reward("learner_0", "cost", -1.0, 0),
    Reward("learner_0", "critic", 0.5, 2),
]
ALONE = {"learner": {"critic": 1.0, "cost": 0.1}}


def learner_pay(use, *signals, correction=None):
    rules = HumanPay(use, ("critic",), correction=correction)
    authors = {0: "learner_0", 2: "learner_0"}
    pay = settle(OPINED, ALONE, authors=authors, signals=signals, rules=rules)
    return pay["learner_0", 0], pay["learner_0", 2]


def test_override_replaces_opinions_at_the_labelled_turn_alone():
    assert learner_pay("override", label(0, 0.0)) == pytest.approx((-1.1, 0.5))
    assert learner_pay("override") == pytest.approx((0.9, 0.5))


def test_add_keeps_opinions():
    assert learner_pay("add", label(0, 0.0)) == pytest.approx((-0.1, 0.5))


def test_debias_pays_every_opinion_what_labels_say_it_is_worth():
    drawn = [("critic", 0.75, 0.0)] * 4 + [("critic", 1.0, 1.0)] * 4
    corrected = learner_pay("debias", label(0, 0.0), correction=Correction(drawn))
    worth = (0.0 * 4 + PRIOR * 0.75) / (4 + PRIOR)
    assert corrected == pytest.approx((-1.1, 2 * worth - 1))


def test_a_bin_without_labels_keeps_the_opinion():
    other = Correction([("critic", 0.1, 0.0), ("truth", 0.75, 0.0)])
    assert learner_pay("debias", correction=other) == learner_pay("override")


@given(st.floats(-1, 1), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=9))
def test_a_correction_lies_between_the_opinion_and_the_labels_of_its_bin(value, said):
    opinion = Reward("learner_0", "critic", value)
    corrected = Correction([("critic", score, found) for score, found in said])
    place = min(BINS - 1, int(score_of(opinion) * BINS))
    mates = [found for score, found in said if min(BINS - 1, int(score * BINS)) == place]
    bounds = sorted(
        [score_of(opinion), sum(mates) / len(mates)] if mates else [score_of(opinion)]
    )
    assert bounds[0] - 1e-9 <= score_of(corrected.apply(opinion)) <= bounds[-1] + 1e-9


def prefer(turn, versus, value):
    return Signal("preference", "e", turn, "human:ann", value, versus)


def test_a_preference_pays_the_better_turn_what_it_takes_from_the_worse():
    assert learner_pay("override", prefer(0, 2, 1.0)) == pytest.approx((1.9, -0.5))
    assert learner_pay("override", prefer(0, 2, 0.5)) == pytest.approx((0.9, 0.5))


def test_pairs_of_a_turn_are_averaged():
    signals = [prefer(0, 1, 1.0), prefer(2, 0, 1.0), prefer(0, 2, 1.0)]
    authors = {0: "learner_0", 1: "learner_1", 2: "learner_0"}
    pay = settle([], {}, authors=authors, signals=signals)
    assert pay == pytest.approx(
        {("learner_0", 0): 1 / 3, ("learner_1", 1): -1.0, ("learner_0", 2): 0.0}
    )


def between(value, turn=0, versus=0, one="a", other="b", kind="preference"):
    """A preference between a turn of one episode and a turn of another."""
    return Signal(kind, one, turn, "human:ann", value, versus, other)


def in_both(signals, rules=ADDED):
    """What the learner earns at turn 0 of the episodes a and b."""
    about = by_episode(signals)
    authors = {0: "learner_0", 2: "learner_0"}
    pays = [
        settle([], {}, authors=authors, signals=about[name], rules=rules)
        for name in ("a", "b")
    ]
    return tuple(pay.get(("learner_0", 0), 0.0) for pay in pays)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, (1, -1)), (0.0, (-1, 1)), (0.5, (0, 0)), (0.75, (0.5, -0.5))],
)
def test_a_preference_between_episodes_pays_each_turn_in_its_own(value, expected):
    assert in_both([between(value)]) == pytest.approx(expected)
    # Whoever is named first: the same statement from the other side.
    assert in_both([between(1 - value, one="b", other="a")]) == pytest.approx(expected)


@given(st.lists(st.integers(0, 4).map(lambda n: n / 4), min_size=1, max_size=6))
def test_what_one_episode_gains_by_preferences_the_other_loses(values):
    gained, lost = in_both([between(value) for value in values])
    assert gained == pytest.approx(-lost)
    assert gained == pytest.approx(sum(2 * v - 1 for v in values) / len(values))


def test_pairs_within_and_between_episodes_are_averaged_together():
    within = Signal("preference", "a", 0, "human:ann", 0.0, 2)
    assert in_both([between(1.0), within]) == pytest.approx((0.0, -1.0))
    third = between(1.0, other="c")
    assert in_both([between(1.0), within, third]) == pytest.approx((1 / 3, -1.0))


def test_a_veto_outranks_a_preference_between_episodes_and_the_other_keeps_its_own():
    vetoed = Signal("veto", "a", 0, "human:bea", 0.0)
    rules = HumanPay(lowest_pay=-3.0)
    assert in_both([between(1.0), vetoed], rules) == pytest.approx((-3.0, -1.0))


def test_only_the_turn_itself_is_paid_where_the_other_turn_has_the_same_number():
    authors = {0: "learner_0", 1: "learner_1"}
    about = by_episode([between(1.0, turn=0, versus=1)])
    assert settle([], {}, authors=authors, signals=about["a"]) == {("learner_0", 0): 1.0}
    assert settle([], {}, authors=authors, signals=about["b"]) == {("learner_1", 1): -1.0}


def test_other_signals_pay_nothing():
    signals = [label(0, 1.0, kind) for kind in ("verdict", "vote", "answer", "skip")]
    assert settle([], WEIGHTS, authors={0: "learner_0"}, signals=signals) == {}
