"""Options of constructors: a wrong one is named, with what it may be."""

from typing import Literal

import pytest

from superalign_env.errors import InvalidOption, hint, nearest
from superalign_env.making import env
from superalign_env.options import check_options


class Made:
    def __init__(
        self,
        size: int,
        *,
        share: float = 0.5,
        mode: Literal["fast", "slow"] = "fast",
        name: str | None = None,
        more: "NotThere" = None,  # noqa: F821 - an annotation that only mypy could read
    ):
        pass


class Plain:
    def __init__(self, size: int, *, share: float = 0.5, mode: Literal["a", "b"] = "a"):
        pass


class Odd:
    def __init__(self, share: Literal[1.5, 2.5] = 1.5):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 1, "shar": 2}, "no option 'shar'; did you mean share"),
        ({"size": 1, "zzz": 2}, "no option 'zzz'; known: size, share, mode"),
        ({}, "needs the option 'size'"),
        ({"size": "two"}, "size='two' does not fit; Expected `int`"),
        ({"size": True}, "size=True does not fit"),
        ({"size": 1, "mode": "c"}, "mode='c' does not fit; choose 'a', 'b'"),
    ],
)
def test_wrong_options_are_named(options, said):
    with pytest.raises(InvalidOption, match=said):
        check_options("thing", Plain, options)


def test_right_options_pass_and_what_nobody_can_check_is_left_alone():
    check_options("thing", Plain, {"size": 1, "share": 1})
    check_options("thing", Plain, {"size": object()})
    check_options("thing", Made, {"size": "unreadable annotations are not looked at"})
    check_options("thing", lambda **anything: anything, {"any": 1})
    check_options("thing", dict, {"a": 1})
    check_options("thing", Odd, {"share": 1.5})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"critcs": 2}, "did you mean critics"),
        ({"critics": "two"}, "critics='two'"),
        ({"split": "trian"}, "choose 'train'"),
        ({"max_utterance": 0}, "at least 1 character"),
        ({"source": 5}, "a source is an id"),
        ({"weights": 3}, "weights map roles"),
    ],
)
def test_an_environment_names_its_wrong_options(options, said):
    with pytest.raises(InvalidOption, match=said):
        env("red-team", **options)


def test_one_wording_for_every_name_that_nobody_knows():
    known = ["share", "size", "mode"]
    assert nearest("shar", known) == ["share"]
    assert nearest("SIZE", known) == ["size"] and nearest("ppo", ["PPO"]) == ["PPO"]
    assert hint(nearest("shar", known), known) == "did you mean share?"
    assert hint(["a.size", "b.size"], ()) == "did you mean a.size or b.size?"
    assert hint(nearest("zzz", known), known) == "known: share, size, mode"
    assert hint([], [], listed="runs here") == "runs here: none"
