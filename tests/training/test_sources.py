"""Sources: settings that make sense, votes, dropout, weights without gold, matrices."""

import pytest
from pydantic import ValidationError

from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator
from superalign_training.oversight.labels import (
    Consensus,
    Statement,
    check,
    combine,
    disagreement,
    labels_on_control,
    labels_taught,
    without_some,
)
from superalign_training.oversight.reliability import matrices, reliability
from superalign_training.oversight.settings import Competence, Person, SignalSettings
from superalign_training.selfplay.settings import read_settings

THREE = ("micro/1", "micro/2", "micro/3")


@pytest.mark.parametrize(
    ("signals", "change"),
    [
        ({"labels": 0}, "signals.labels"),
        ({"labels": 0, "people": []}, "signals.models"),
        ({"people": []}, "signals.people"),
        ({"labels": 8, "control_share": 1.0}, "lower the shares"),
        ({"combine": "dawid-skene"}, "name 3 more"),
        ({"combine": "dawid-skene", "models": ["micro/1", "micro/2"]}, "name 1 more"),
        ({"combine": "ancestors", "ancestors": False}, "signals.ancestors"),
        ({"people": [{"name": "ann"}, {"name": "ann"}]}, "same name"),
        ({"models": ["micro/1", "micro/1"]}, "twice"),
        ({"models": ["micro/1"], "personas": ["micro/1"]}, "twice"),
    ],
)
def test_contradictions_are_found_before_anything_is_trained(signals, change):
    with pytest.raises(InvalidOption, match=change):
        check(SignalSettings(**signals), generations=2)
    with pytest.raises(InvalidOption, match=change):
        read_settings({"generations": 2, "signals": signals})
    read_settings({"generations": 0, "signals": signals})  # self-play asks no sources


@pytest.mark.parametrize(
    "signals",
    [
        {},
        {"labels": 0, "models": ["micro/1"]},
        {"labels": 0, "people": [], "personas": ["simulated-persona"]},
        {"combine": "dawid-skene", "models": THREE},
        {"combine": "ancestors"},
        {"ancestors": False},
    ],
)
def test_settings_that_make_sense_pass(signals):
    check(SignalSettings(**signals), generations=3)


def test_the_budget_is_shared_out_completely():
    signals = SignalSettings(labels=100, control_share=0.25, random_share=0.2)
    assert (labels_on_control(signals), labels_taught(signals)) == (25, 60)


def test_senseless_numbers_are_refused_by_name():
    for section, wrong in (
        (SignalSettings, {"dropout": 1.5}),
        (SignalSettings, {"combine": "guess"}),
        (Person, {"accuracy": 2}),
        (Competence, {"families": []}),
        (Competence, {"cases": 1}),
        (Competence, {"algorithm": "dpo"}),
    ):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            section(**wrong)


def said(**by_source):
    """One statement of each source about items 0, 1, …; a dot says nothing."""
    return [
        Statement(f"i{n}", source, text)
        for source, texts in by_source.items()
        for n, text in enumerate(texts)
        if text != "."
    ]


def answers(labels):
    return [one.answer for one in labels]


def test_a_majority_is_named_with_those_who_were_in_it():
    labels = combine(said(a="xx", b="xy", c="xy"), "majority")
    assert [(one.item, one.answer, one.sources) for one in labels] == [
        ("i0", "x", ("a", "b", "c")),
        ("i1", "y", ("b", "c")),
    ]
    assert [one.confidence for one in labels] == pytest.approx([1.0, 2 / 3])


def test_answers_agree_by_what_they_come_to_and_keep_the_words_of_the_most_trusted():
    statements = [
        Statement("i", "a", "ans 4"),
        Statement("i", "b", "3 + 1 = 4 ans 4"),
        Statement("i", "c", "ans 5"),
    ]
    trust = {"a": 0.6, "b": 0.9, "c": 0.6}
    (label,) = combine(statements, "weighted", reliability=trust)
    assert (label.answer, label.sources) == ("3 + 1 = 4 ans 4", ("a", "b"))


def test_reliable_sources_outvote_unreliable_ones():
    statements = said(good="x", bad="y", worse="y")
    assert answers(combine(statements, "majority")) == ["y"]
    trust = {"good": 0.95, "bad": 0.55, "worse": 0.55}
    assert answers(combine(statements, "weighted", reliability=trust, choices=2)) == ["x"]


def test_of_ancestors_the_youngest_counts_most_and_older_ones_where_it_is_unsure():
    statements = said(first="x", second="x", third="y")
    order = ("first", "second", "third")
    assert answers(combine(statements, "ancestors", order=order)) == ["y"]
    assert answers(combine(statements, "ancestors", order=order[::-1])) == ["x"]
    unsure = [
        one._replace(confidence=0.3) if one.source == "third" else one for one in statements
    ]
    assert answers(combine(unsure, "ancestors", order=order)) == ["x"]


def test_dawid_skene_finds_the_good_source_without_being_told():
    rng = generator(4)
    truth = rng.integers(0, 2, 200)

    def source(accuracy):
        right = rng.random(200) < accuracy
        return "".join("xy"[t if ok else 1 - t] for t, ok in zip(truth, right, strict=True))

    statements = said(a=source(0.95), b=source(0.6), c=source(0.6), d=source(0.6))
    right = {
        rule: sum(
            one.answer == "xy"[t]
            for one, t in zip(combine(statements, rule), truth, strict=True)
        )
        for rule in ("majority", "dawid-skene")
    }
    assert right["dawid-skene"] > right["majority"] + 10


def test_dawid_skene_without_overlap_says_what_to_change():
    with pytest.raises(InvalidOption, match="majority"):
        combine(said(a="xx", b="xy"), "dawid-skene")


def test_nobody_said_nothing():
    assert combine([], "majority") == []


def test_labels_do_not_depend_on_the_order_of_statements():
    statements = said(a="xyxy", b="xxyy", c="yyxx")
    for rule in ("majority", "weighted", "ancestors", "dawid-skene"):
        first = combine(statements, rule, order="abc")
        again = combine(statements[::-1], rule, order="abc")
        assert sorted(first) == sorted(again)


def test_dropout_leaves_out_the_share_and_always_leaves_somebody():
    statements = said(a="x" * 400, b="x" * 400, c="x" * 400, d="x" * 400)
    left = without_some(statements, 0.5, key=1)
    assert len(left) == 800
    heard = {source: sum(one.source == source for one in left) for source in "abcd"}
    assert min(heard.values()) > 150
    assert without_some(statements, 0.0, key=1) == statements
    alone = without_some(statements, 1.0, key=1)
    assert len(alone) == 400 and len({one.item for one in alone}) == 400
    kept = without_some(statements, 1.0, key=1, exempt=["d"])
    assert {one.source for one in kept} == {"d"} and len(kept) == 400


def test_a_share_that_is_no_number_of_sources_is_met_on_average():
    statements = said(a="x" * 1000, b="x" * 1000, c="x" * 1000)
    left = len(without_some(statements, 0.25, key=2)) / 3000
    assert left == pytest.approx(0.75, abs=0.02)


def test_who_is_left_out_depends_on_the_key_and_the_item_alone():
    statements = said(a="x" * 60, b="x" * 60, c="x" * 60)
    left = without_some(statements, 0.4, key=3)
    some = [one for one in statements if one.item in ("i5", "i9")]
    assert without_some(some, 0.4, key=3) == [o for o in left if o.item in ("i5", "i9")]
    assert set(without_some(statements[::-1], 0.4, key=3)) == set(left)
    assert without_some(statements, 0.4, key=4) != left


def test_disagreement_is_over_pairs_and_absent_for_one_source():
    assert disagreement(said(a="xxxx")) == 0.0
    assert disagreement(said(a="xxxx", b="xxyy")) == 0.5
    assert disagreement(said(a="xx", b="xx", c="yy")) == pytest.approx(2 / 3)
    assert disagreement([]) == 0.0


def test_sources_are_weighed_by_people_where_people_spoke():
    statements = said(a="x" * 20, b="x" * 10 + "y" * 10)
    people = said(ann="x" * 20)
    found = reliability(statements, people)
    assert found["a"] == pytest.approx(21 / 22)
    assert found["b"] == pytest.approx(11 / 22)


def test_people_are_not_weighed_by_themselves():
    people = said(ann="x" * 20)
    statements = [*said(a="y" * 20), *people]
    assert reliability(statements, people)["ann"] == pytest.approx(1 / 22)


def test_without_people_sources_are_weighed_by_what_most_others_say():
    found = reliability(said(a="xxxx", b="xxxx", c="xxyy", d="xxxx"))
    assert found["a"] == pytest.approx(5 / 6)
    assert found["c"] == pytest.approx(3 / 6)
    assert reliability(said(a="xxxx"))["a"] == 0.5  # nobody to agree with
    few = reliability(said(a="xxxx", b="xxxx"), said(ann="yyyy"))
    assert few["a"] > 0.5  # four labels are too few to go by


def cell(found, name, pair):
    (metric,) = [m for m in found if m.name == name and (m.agent, m.opponent) == pair]
    return metric


def test_matrices_tell_copies_from_independent_sources():
    rng = generator(8)
    items = 300

    def errs():
        return "".join("y" if wrong else "x" for wrong in rng.random(items) < 0.3)

    one = errs()
    people = said(ann="x" * items)
    options = {f"i{n}": ("x", "y") for n in range(items)}
    found = matrices(said(a=one, b=one, c=errs()), people, options=options, step=2)
    for name in ("signals.error_correlation", "signals.kappa_p"):
        copies, others = cell(found, name, ("a", "b")), cell(found, name, ("a", "c"))
        assert copies.value == pytest.approx(1.0)
        assert abs(others.value) < 0.2 and others.low < others.value < others.high
        assert copies.step == 2 and copies.tags == {"a": "a", "b": "b"}
    assert len(found) == 6


def test_unsure_sources_are_less_alike_in_probability():
    items = 40
    people = said(ann="x" * items)
    options = {f"i{n}": ("x", "y", "z") for n in range(items)}
    text = "xxxy" * (items // 4)
    sure = said(a=text, b=text)
    unsure = [one._replace(confidence=0.5) for one in sure]
    kappa = [
        cell(matrices(s, people, options=options), "signals.kappa_p", ("a", "b")).value
        for s in (sure, unsure)
    ]
    assert kappa[0] == pytest.approx(1.0) and kappa[1] < 0.9


def test_there_are_no_matrices_without_labels_of_people():
    assert matrices(said(a="xxxx", b="xyxy"), [], options={}) == []
    assert matrices(said(a="xxxx", b="xyxy"), said(ann="xx"), options={}) == []


def test_a_label_is_a_plain_value():
    (label,) = combine(said(a="x"), "majority")
    assert label == Consensus("i0", "x", 1.0, ("a",))
