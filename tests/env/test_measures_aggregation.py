"""Votes of several sources: what their maths promises, and what they refuse."""

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.errors import InvalidOption
from superalign_env.measures import (
    dawid_skene,
    majority,
    overlapping,
    recency_weighted,
    weighted,
)
from superalign_env.seeding import generator

TABLES = st.integers(1, 5).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from(["a", "b", "c", None]), min_size=width, max_size=width),
        min_size=1,
        max_size=12,
    )
)


def planted(reliabilities, items=600, categories=("a", "b"), seed=0, missing=0.0):
    """Return true answers, and independent votes of known reliability."""
    rng = generator(seed)
    truth = [categories[rng.integers(len(categories))] for _ in range(items)]
    votes = []
    for right in truth:
        wrong = [c for c in categories if c != right]
        votes.append(
            [
                None
                if rng.random() < missing
                else right
                if rng.random() < r
                else wrong[rng.integers(len(wrong))]
                for r in reliabilities
            ]
        )
    return truth, votes


def accuracy(truth, answers):
    return sum(t == a for t, a in zip(truth, answers, strict=True)) / len(truth)


@pytest.mark.parametrize(
    ("voters", "expected"), [(1, 0.650), (3, 0.718), (5, 0.765), (9, 0.828)]
)
def test_a_vote_of_independent_sources_beats_each(voters, expected):
    # The exact distribution of right votes, put to the vote: no sampling error.
    right = [["y"] * k + ["n"] * (voters - k) for k in range(voters + 1)]
    answers = majority(right).answers
    found = sum(
        comb(voters, k) * 0.65**k * 0.35 ** (voters - k)
        for k, answer in enumerate(answers)
        if answer == "y"
    )
    assert found == pytest.approx(expected, abs=5e-4)


def test_a_vote_of_copies_is_worth_one_of_them():
    truth, votes = planted([0.65], items=2000)
    copies = [row * 9 for row in votes]
    assert majority(copies).answers == tuple(row[0] for row in votes)
    assert accuracy(truth, majority(copies).answers) == pytest.approx(0.65, abs=0.03)


def test_equal_votes_favour_neither_a_source_nor_an_answer():
    votes = [["a", "b"]] * 400
    names = [f"item-{i}" for i in range(400)]
    answers = majority(votes, items=names).answers
    assert 150 < answers.count("a") < 250
    assert majority([["b", "a"]] * 400, items=names).answers == answers
    assert set(majority(votes).confidence) == {0.5}


def test_sources_that_are_known_to_be_better_count_more():
    votes = [["a", "b", "b"]]
    assert majority(votes).answers == ("b",)
    strong = weighted(votes, [0.95, 0.6, 0.6])
    assert strong.answers == ("a",)
    # Bayes: .95·.4·.4 against .05·.6·.6
    assert strong.confidence[0] == pytest.approx(0.152 / (0.152 + 0.018))
    assert weighted([["a", "b"]], [0.1, 0.5]).answers == ("b",)


def test_agreement_among_many_possible_answers_is_worth_more():
    few = weighted([["a", "a"]], [0.6, 0.6], categories=2).confidence[0]
    many = weighted([["a", "a"]], [0.6, 0.6], categories=10).confidence[0]
    assert few == pytest.approx(0.36 / 0.52)
    assert many == pytest.approx(0.36 / (0.36 + 0.16 / 9))


def test_the_youngest_ancestor_leads_unless_it_is_unsure():
    votes = [["a", "a", "b"], ["a", "b", None]]
    assert recency_weighted(votes).answers == ("b", "b")
    assert recency_weighted(votes).confidence == pytest.approx((4 / 7, 2 / 3))
    assert recency_weighted(votes, growth=1.5).answers == ("a", "b")
    unsure = recency_weighted([["a", "a", "b"]], sureness=[[1.0, 1.0, 0.6]])
    assert unsure.answers == ("a",)
    assert unsure.confidence[0] == pytest.approx((1 + 2 + 4 * 0.4) / 7)


def test_a_chain_of_a_thousand_ancestors_still_has_a_vote():
    found = recency_weighted([["a"] * 2000 + ["b", "b"]])
    assert found.answers == ("b",)
    assert found.confidence[0] == pytest.approx(0.75)


@given(TABLES)
def test_every_rule_answers_with_something_that_was_said(votes):
    width = len(votes[0])
    for found in (majority(votes), recency_weighted(votes), weighted(votes, [0.7] * width)):
        assert len(found.reliability) == width
        for row, answer, confidence in zip(
            votes, found.answers, found.confidence, strict=True
        ):
            assert answer in (set(row) - {None} or {None})
            assert 0.0 <= confidence <= 1.0
            assert (confidence == 0.0) == (answer is None)
        for source, reliability in enumerate(found.reliability):
            said = any(row[source] is not None for row in votes)
            assert (reliability is not None) == said
            assert reliability is None or 0.0 <= reliability <= 1.0


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_sources_decides_no_vote(votes, random):
    order = list(range(len(votes[0])))
    random.shuffle(order)
    shuffled = [[row[i] for i in order] for row in votes]
    assert majority(shuffled)[:2] == majority(votes)[:2]


@pytest.mark.parametrize("categories", [None, ("a", "b", "c")])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_dawid_skene_recovers_planted_reliabilities(categories, missing):
    given_ = [0.95, 0.8, 0.7, 0.6, 0.5]
    truth, votes = planted(given_, items=1500, categories=("a", "b", "c"), missing=missing)
    found = dawid_skene(votes, categories=categories)
    assert found.converged
    assert found.reliability == pytest.approx(given_, abs=0.05)
    assert accuracy(truth, found.answers) > accuracy(truth, majority(votes).answers) + 0.02


def test_dawid_skene_is_calibrated_where_errors_are_independent():
    truth, votes = planted([0.9, 0.75, 0.7, 0.65], items=3000, seed=3)
    found = dawid_skene(votes)
    assert sum(found.confidence) / len(truth) == pytest.approx(
        accuracy(truth, found.answers), abs=0.02
    )


def test_dawid_skene_sees_through_a_source_that_errs_on_one_side_only():
    rng = generator(5)
    truth = ["comply" if rng.random() < 0.5 else "refuse" for _ in range(2000)]
    coin = [
        [
            t if rng.random() < 0.75 else ("refuse" if t == "comply" else "comply")
            for t in truth
        ]
        for _ in range(3)
    ]
    always = ["refuse" if rng.random() < 0.9 else t for t in truth]
    votes = [list(row) for row in zip(*coin, always, always, strict=True)]
    # The two copies of the timid source break independence; one is enough to show it.
    votes = [row[:4] for row in votes]
    seen = dawid_skene(votes, categories=("comply", "refuse"))
    blind = majority(votes)
    assert accuracy(truth, seen.answers) > accuracy(truth, blind.answers) + 0.04


def test_dawid_skene_cannot_see_an_error_that_all_share():
    truth, votes = planted([0.95] * 3, items=500)
    blind = [i % 5 == 0 for i in range(500)]
    votes = [
        ["b" if t == "a" else "a"] * 3 if dark else row
        for t, row, dark in zip(truth, votes, blind, strict=True)
    ]
    found = dawid_skene(votes)
    wrong = [c for c, dark in zip(found.confidence, blind, strict=True) if dark]
    assert min(wrong) > 0.95
    assert min(r for r in found.reliability if r is not None) > 0.9


def test_dawid_skene_refuses_what_it_cannot_know():
    with pytest.raises(InvalidOption, match="add sources until there are three"):
        dawid_skene([["a", "a"]] * 10)
    apart = [["a", None, None], [None, "a", None], [None, None, "b"]] * 5
    with pytest.raises(InvalidOption, match=r"no two share more than 0.*less dropout"):
        dawid_skene(apart)
    ring = [["a", "b", None], [None, "a", "b"], ["a", None, "b"]]
    assert overlapping(ring) == (0, 1, 2)
    assert dawid_skene(ring).converged
    assert overlapping(ring, 2) == ()
    with pytest.raises(InvalidOption, match="at least 2 of the same items"):
        dawid_skene(ring, overlap=2)
    with pytest.raises(InvalidOption, match="b is no category"):
        dawid_skene([["a", "b", "a"]], categories=("a", "c"))


def test_a_source_apart_from_an_overlapping_trio_stays_unknown():
    _, votes = planted([0.9, 0.85, 0.8], items=400)
    votes = [[*row, None] for row in votes] + [[None, None, None, "a"]] * 50
    found = dawid_skene(votes)
    assert overlapping(votes) == (0, 1, 2)
    assert found.reliability[3] == pytest.approx(0.5, abs=0.1)
    assert found.reliability[:3] == pytest.approx((0.9, 0.85, 0.8), abs=0.06)


def test_tables_that_are_none_are_refused():
    with pytest.raises(InvalidOption, match="no table"):
        majority([["a"], ["a", "b"]])
    with pytest.raises(InvalidOption, match="one for each"):
        majority([["a"]], items=["x", "y"])
    with pytest.raises(InvalidOption, match="no probability"):
        majority([["a"]], sureness=[[1.5]])
    with pytest.raises(InvalidOption, match="2 sources"):
        weighted([["a", "b"]], [0.5])
    with pytest.raises(InvalidOption, match="growth"):
        recency_weighted([["a"]], growth=0.0)
    assert majority([]) == ((), (), ())
