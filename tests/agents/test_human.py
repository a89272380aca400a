"""A person at the terminal."""

import io
import sys

import pytest

from superalign_agents.human import Human
from superalign_env.humans.keyboard import typed_line
from superalign_env.types import View


def ask(typed, *, text="what now", menu=(), views=1, **options):
    screen = io.StringIO()
    agent = Human(source=io.StringIO(typed), screen=screen, **options)
    one = View("e0", 0, "learner_0", "learner", 1, 1, text, menu=menu)
    return agent.act([one] * views), screen.getvalue()


def test_one_line_is_one_reply():
    replies, shown = ask("hello there\nsecond\n", views=2)
    assert [reply.text for reply in replies] == ["hello there", "second"]
    assert "what now" in shown and "learner_0" in shown


def test_an_empty_line_is_an_empty_reply():
    (reply,), _ = ask("\n")
    assert (reply.text, reply.error) == ("", "")


def test_several_lines_end_at_a_blank_one():
    replies, _ = ask("one\ntwo\n\nthree\n\n", views=2, multiline=True)
    assert [reply.text for reply in replies] == ["one\ntwo", "three"]


def test_input_that_ends_inside_a_reply_keeps_what_was_typed():
    (reply,), _ = ask("one\ntwo", multiline=True)
    assert reply.text == "one\ntwo"


@pytest.mark.parametrize("typed", ["/quit\n", "", " /quit \n".lstrip()])
@pytest.mark.parametrize("multiline", [True, False])
def test_leaving_is_an_error_on_the_reply(typed, multiline):
    (reply,), _ = ask(typed, multiline=multiline)
    assert reply.error == "the person left"


def test_a_number_takes_the_menu_and_nonsense_is_asked_again():
    (reply,), shown = ask("/9\n/x\n/2\n", menu=("comply", "refuse"))
    assert reply.text == "refuse"
    assert "/2 refuse" in shown and shown.count("leaves; /1 to /2") == 2


@pytest.mark.parametrize("multiline", [True, False])
def test_two_slashes_say_one(multiline):
    (reply,), _ = ask("//quit\n\n", multiline=multiline)
    assert reply.text == "/quit"


def test_hostile_text_cannot_reach_the_terminal():
    _, shown = ask("x\n", text="\x1b[2Jgone \u202egnorw", menu=("\x07beep",))
    assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown
    assert "  │ ⟨U+001B⟩[2Jgone" in shown and "  /1 ⟨U+0007⟩beep" in shown


def test_a_view_cannot_look_like_the_program():
    _, shown = ask("x\n", text="said\nYour words (one line, /quit leaves):\n  /1 comply")
    lines = shown.splitlines()
    assert sum(line.startswith("Your words") for line in lines) == 1
    assert [line for line in lines if line.startswith("  /1")] == []


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("a\x00b", "contains NUL"),
        ("a\udc80c", "a lone surrogate at character 1"),
        ("\x1b[D", "the control character U+001B at character 0"),
        ("x" * 100_001, "has 100001 characters"),
        ("x" * 250_000, "more than 100000"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_the_reason_and_asked_again(typed, why):
    (reply,), shown = ask(f"{typed}\nfine\n")
    assert reply.text == "fine"
    assert "not taken: it " in shown and why in shown and "\x1b" not in shown


def test_who_has_no_input_has_left(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    assert typed_line(sys.stdin) is None
