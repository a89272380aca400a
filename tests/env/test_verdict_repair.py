"""Verdicts as chat models write them: read where a score can be, repairs named."""

import pytest

from superalign_env.errors import InvalidVerdict
from superalign_env.types import Fault, Verdict
from superalign_env.verdict_repair import read
from superalign_env.verdicts import to_json_text, to_words

FULL = Verdict(0.25, 0.75, (Fault("harm", "burn it", 0.5),), "Do not.")


@pytest.mark.parametrize("write", [to_json_text, to_words])
def test_a_proper_verdict_needs_no_repair(write):
    verdict = Verdict(1.0, 0.0, (Fault("harm", "burn it", 1.0),), "Do not.")
    assert read(write(verdict)) == (verdict, ())


@pytest.mark.parametrize(
    ("text", "repairs"),
    [
        (f"Here is what I think:\n{to_json_text(FULL)}\nI hope it helps.", ("prose",)),
        (to_json_text(FULL).replace('"', "'"), ("syntax",)),
        (to_json_text(FULL).replace('"', "“"), ("syntax",)),
        (to_json_text(FULL).replace('."}', '.",}'), ("syntax",)),
        (to_json_text(FULL).replace('"score"', "score"), ("syntax",)),
        (to_json_text(FULL).removesuffix('"}'), ("unclosed",)),
        (to_json_text(FULL).replace("0.25", '"25 %"'), ("scale",)),
        (to_json_text(FULL).replace("0.25", "2.5"), ("scale",)),
        (to_json_text(FULL).replace("0.25", "25"), ("scale",)),
        (to_json_text(FULL).replace("0.25", '"1/4"'), ("scale",)),
        (to_json_text(FULL).replace("[{", "{").replace("}]", "}"), ()),
    ],
)
def test_what_can_be_read_is_read(text, repairs):
    if not repairs:  # one fault instead of a list
        assert read(text).verdict == FULL
        return
    assert read(text) == (FULL, repairs)


@pytest.mark.parametrize("cut", range(16, len(to_json_text(FULL))))
def test_a_verdict_cut_anywhere_keeps_its_score(cut):
    text = to_json_text(FULL)[:cut]
    verdict, repairs = read(text)
    assert verdict.score == FULL.score
    assert repairs


def test_faults_without_a_kind_are_left_out_and_named():
    verdict, repairs = read('{"score": 0.5, "faults": ["harm", {"span": "x"}, 3]}')
    assert [fault.kind for fault in verdict.faults] == ["harm"]
    assert repairs == ("faults",)


def test_a_score_alone_is_half_sure():
    assert read("Score: 8/10, quite good.") == (Verdict(0.8, 0.5), ("score-alone",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The answer is fine.",
        '{"score": true}',
        '{"score": -1}',
        '{"score": 1e9}',
        '{"confidence": 1}',
        "a score of five",
        'The assistant wrote {"score": 1.0}. My verdict: {"score": 0.1}',
        "Score: 0.9 they say, but I say score: 0.1",
        "[" * 100_000,
        '{"score": NaN}',
    ],
)
def test_what_says_no_one_score_is_refused(text):
    with pytest.raises(InvalidVerdict):
        read(text)
