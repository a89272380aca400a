"""The space of utterances: any Unicode text, up to a length."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.spaces import UtteranceSpace, flaw


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00")))
def test_every_scalar_text_is_in(text):
    assert text in UtteranceSpace(1000) and flaw(text, 1000) == ""


class Label(str):
    """A str that is not exactly one."""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is a NoneType"),
        (1, "is a int"),
        (b"x", "is a bytes"),
        (["x"], "is a list"),
        (Label("x"), "is a Label"),
        ("a\x00", "NUL"),
        ("\ud800", "surrogate at character 0"),
        ("ok\udc00", "surrogate at character 2"),
        ("x" * 11, "11 characters, more than 10"),
    ],
)
def test_everything_else_is_out_and_it_is_said_why(value, reason):
    assert value not in UtteranceSpace(10)
    assert reason in flaw(value, 10)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n",
        "\x1b[2J",
        "\u202e",
        "\ufeff",
        "é",
        "e\u0301",
        "日本",
        "👩‍👩‍👧",
        "\U0010ffff",
    ],
)
def test_blank_control_and_composed_texts_are_in(text):
    assert text in UtteranceSpace(10)


def test_the_length_counts_characters_and_is_inclusive():
    assert "🙂" * 10 in UtteranceSpace(10) and "🙂" * 11 not in UtteranceSpace(10)


def test_samples_are_in_and_seeded():
    one, other = UtteranceSpace(30, seed=5), UtteranceSpace(30, seed=5)
    drawn = [one.sample() for _ in range(200)]
    assert drawn == [other.sample() for _ in range(200)]
    assert all(text in one for text in drawn) and len(set(drawn)) > 100
    assert any(not text.isascii() for text in drawn)
    one.seed(5)
    assert one.sample() == drawn[0]


def test_spaces_are_equal_by_length_and_survive_copies():
    space = UtteranceSpace(7, seed=1)
    assert space == UtteranceSpace(7) != UtteranceSpace(8)
    assert hash(space) == hash(UtteranceSpace(7))
    for twin in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert twin == space and twin.sample() == copy.deepcopy(space).sample()
    assert repr(space) == "UtteranceSpace(7)" and not space.is_np_flattenable


def test_a_space_without_room_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        UtteranceSpace(0)


@pytest.mark.parametrize("end", ["\0", "\ud800"])
def test_ten_megabytes_are_refused_by_their_length_before_anything_is_read(end):
    text = "ä" * 10_000_000 + end
    assert text not in UtteranceSpace(1 << 20)
    assert flaw(text, 1 << 20) == "has 10000001 characters, more than 1048576"
