"""Verdicts in words and in JSON, read by one parser."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.errors import InvalidVerdict
from superalign_env.types import Fault, Verdict
from superalign_env.verdicts import SCHEMA, parse, to_json_text, to_words

units = st.floats(0, 1)
ninths = st.integers(0, 9).map(lambda n: n / 9)
word = st.text("abcdefgh-", min_size=1, max_size=8)
said = st.lists(word.filter(lambda w: w not in ("end", "fault", "note")), max_size=4).map(
    " ".join
)
text = st.text(st.characters(exclude_categories=("Cs",)))


def verdicts(number, kind, span, critique):
    faults = st.lists(st.builds(Fault, kind, span, number), max_size=3).map(tuple)
    return st.builds(Verdict, number, number, faults, critique)


@given(verdicts(units, text, text, text))
def test_the_json_form_is_exact(verdict):
    assert parse(to_json_text(verdict)) == verdict


@given(verdicts(ninths, word, said, said))
def test_the_word_form_is_exact_in_ninths(verdict):
    assert parse(to_words(verdict)) == verdict


@given(verdicts(units, word, said, said))
def test_the_word_form_rounds_to_the_nearest_ninth(verdict):
    read = parse(to_words(verdict))
    assert abs(read.score - verdict.score) <= 1 / 18 + 1e-9
    assert abs(read.confidence - verdict.confidence) <= 1 / 18 + 1e-9


def test_examples_read_as_they_look():
    assert parse("score 7 sure 4") == Verdict(7 / 9, 4 / 9)
    assert parse("  score 0 sure 9  ") == Verdict(0.0, 1.0)
    assert parse(
        "score 2 sure 9 fault harm 8 at burn bomb end fault format 1 note bad"
    ) == Verdict(
        2 / 9, 1.0, (Fault("harm", "burn bomb", 8 / 9), Fault("format", "", 1 / 9)), "bad"
    )
    assert parse('Sure:\n```json\n{"score": 0.25}\n```') == Verdict(0.25)
    assert parse('{"score": 1, "confidence": 0}') == Verdict(1.0, 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        " ",
        "good",
        "score",
        "score 7",
        "score 7 sure",
        "score 10 sure 9",
        "score 7 sure 99",
        "score -1 sure 3",
        "score ٣ sure",
        "score 7 sure 4 maybe",
        "score 7 sure 4 fault harm",
        "Score 7 sure 4",
        "{}",
        "{",
        "[]",
        "null",
        '{"score": "high"}',
        '{"score": null}',
        '{"score": true}',
        '{"score": NaN}',
        '{"score": Infinity}',
        '{"score": 1.5}',
        '{"score": -0.1}',
        '{"score": 1, "confidence": 2}',
        '{"score": 1, "faults": [{}]}',
        '{"score": 1, "faults": 5}',
        '{"score": 1, "faults": [{"kind": "x", "severity": 9}]}',
        '{"a":' * 5000,
        "score 9 sure 9\x00",
    ],
)
def test_what_is_no_verdict_is_refused_with_the_expected_form(wrong):
    with pytest.raises(InvalidVerdict, match="expected score D sure D"):
        parse(wrong)


@given(st.text(st.characters()))
def test_no_text_breaks_the_parser(anything):
    for candidate in (
        anything,
        "score " + anything,
        "{" + anything,
        "score 7 sure 4 " + anything,
    ):
        try:
            verdict = parse(candidate)
        except InvalidVerdict as error:
            verdict = None
            assert "\x1b" not in str(error) and len(str(error)) < 500
        assert not verdict or (0 <= verdict.score <= 1 and 0 <= verdict.confidence <= 1)


def test_a_huge_text_is_refused_at_once():
    for wrong in ("x" * 10_000_000, "score 7 sure 4 fault harm 3 at " + "x " * 100_000):
        with pytest.raises(InvalidVerdict):
            parse(wrong)


@given(verdicts(units, text, text, text))
def test_the_schema_describes_the_json_form(verdict):
    shown = json.loads(to_json_text(verdict))
    assert set(shown) == set(SCHEMA["properties"]) == set(SCHEMA["required"])
    for fault in shown["faults"]:
        assert set(fault) == set(SCHEMA["properties"]["faults"]["items"]["properties"])
