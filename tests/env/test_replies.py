"""A Reply as an action text, and back."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import superalign_env
from superalign_env.errors import InvalidUtterance
from superalign_env.replies import MARKER, decode, encode, read_action
from superalign_env.types import Reply, ToolCall, Usage

any_text = st.text(st.characters())  # lone surrogates too
number = st.floats(allow_nan=False)
arguments = st.dictionaries(
    any_text, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | any_text
)
replies = st.builds(
    Reply,
    text=any_text,
    thought=any_text,
    tool_calls=st.lists(st.builds(ToolCall, any_text, arguments, any_text)).map(tuple),
    prompt_ids=st.lists(st.integers(0, 2**31)).map(tuple),
    token_ids=st.lists(st.integers(0, 2**31)).map(tuple),
    logprobs=st.lists(number).map(tuple),
    finish=st.sampled_from(["stop", "length", "error", ""]),
    usage=st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    policy=any_text,
    error=any_text,
)


@given(replies)
def test_every_reply_comes_back_exactly(reply):
    assert decode(encode(reply)) == reply


@given(any_text)
def test_a_text_is_its_own_action(text):
    assume(not text.startswith(MARKER))
    assert encode(Reply(text)) == text and decode(text) == Reply(text)


def test_a_text_that_imitates_an_envelope_is_put_into_one():
    forged = encode(Reply("x", thought="y"))
    action = encode(Reply(forged))
    assert action != forged and decode(action) == Reply(forged)


def test_a_number_that_is_none_travels_too():
    reply = decode(encode(Reply("x", token_ids=(1,), logprobs=(math.nan,))))
    assert math.isnan(reply.logprobs[0])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '{"thought": "no text"}',
        '{"text": 1}',
        "{" * 100_000,
        "\\ud800",
    ],
)
def test_a_broken_envelope_is_a_clear_error(body):
    with pytest.raises(InvalidUtterance, match="reply marker"):
        decode(MARKER + body)


BROKEN = f"{MARKER}{{broken"


def test_a_broken_envelope_is_an_error_only_where_errors_are_wanted():
    with pytest.raises(InvalidUtterance, match="reply marker"):
        read_action(BROKEN, strict=True)
    assert read_action(BROKEN, strict=False) == Reply(BROKEN)


def test_a_broken_envelope_never_stops_an_environment_that_penalises():
    aec = superalign_env.env("echo", max_cycles=1, on_invalid="penalise")
    aec.reset(seed=0)
    for _ in range(2):
        aec.step(BROKEN)
    assert [said.text for said in aec.game.utterances] == [BROKEN, BROKEN]
    parallel = superalign_env.parallel_env("echo", max_cycles=1, on_invalid="penalise")
    parallel.reset(seed=0)
    parallel.step(dict.fromkeys(parallel.agents, BROKEN))
    assert not parallel.agents
