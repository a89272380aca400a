"""Plug-in packages: one entry point each, and a broken one takes nothing else along."""

import importlib
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from superalign_env import registry
from superalign_env.cli import build
from superalign_env.envs import env, make_scenario
from superalign_env.errors import InvalidOption, UnknownId, hint, nearest
from superalign_env.registry import check_options

PLUGIN = {
    "good": 'PLUGINS = {"agent": {"parrot": ("parrot_shop:Parrot", "says it again")}}',
    "twin": 'PLUGINS = {"agent": {"parrot": ("x:X", "x"), "search": ("x:X", "ours")}}',
    "shapeless": "PLUGINS = 5",
    "idle": 'PLUGINS = {"agent": {"parrot": ("parrot_shop:Parrot", "says it again")}, '
    '"agnet": {"owl": ("x:X", "x")}, "telepath": {"seer": ("x:X", "x")}}',
    "broken": "import no_such_module_anywhere",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install plug-in packages into this process, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(*names, attribute="PLUGINS"):
        for name in names:
            (tmp_path / f"{name}_shop.py").write_text(PLUGIN[name])
            info = tmp_path / f"{name}-1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
            point = f"[superalign.plugins]\n{name}_shop = {name}_shop:{attribute}\n"
            (info / "entry_points.txt").write_text(point)
        registry.refresh()

    yield installed
    for name in PLUGIN:
        sys.modules.pop(f"{name}_shop", None)
    monkeypatch.undo()
    registry.refresh()


def test_what_a_plugin_registers_is_found_beside_ours(install):
    install("good")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.entry("agent", "parrot").package == "good_shop"
    assert "search" in registry.entries("agent")
    assert registry.left_out() == []


@pytest.mark.parametrize("name", ["broken", "shapeless", "twin"])
def test_a_plugin_that_cannot_be_used_is_left_out_whole_and_named(install, name):
    install(name)
    with pytest.warns(RuntimeWarning, match=f"'{name}_shop' is left out"):
        ours = registry.entry("agent", "search")
    assert ours.package == "superalign_agents"
    assert make_scenario("echo").id == "echo-v0"
    (why,) = registry.left_out()
    assert name in why
    with pytest.raises(UnknownId, match=f"{name}_shop"):
        registry.entry("agent", "parrot")


def test_an_entry_point_without_its_attribute_is_left_out(install):
    install("good", attribute="NOPE")
    with pytest.warns(RuntimeWarning, match="AttributeError"):
        assert "parrot" not in registry.entries("agent")


def test_doctor_names_the_plugin_that_is_left_out(install):
    install("broken")
    with pytest.warns(RuntimeWarning):
        said = CliRunner().invoke(build(), ["doctor", "--json"])
    (why,) = json.loads(said.stdout)["plugins_left_out"]
    assert "broken_shop" in why and "no_such_module_anywhere" in why


def test_entries_of_a_kind_that_nothing_calls_are_left_out_and_named(install):
    install("idle")
    with pytest.warns(RuntimeWarning) as told:
        assert registry.entry("agent", "parrot").package == "idle_shop"
    assert {"telepath", "agnet"}.isdisjoint(registry.kinds())
    assert [str(one.message) for one in told] == registry.left_out()
    near, far = registry.left_out()
    assert "owl" in near and "did you mean agent?" in near
    assert "seer" in far and "nothing calls" in far and "algorithm" in far


def test_every_kind_is_called_by_something():
    """A kind in a table has a call that names it, else its plug-ins would lie idle."""
    roots = [
        Path(importlib.import_module(name).__file__).parent
        for name in registry._FIRST_PARTY
    ]
    called = set()
    for path in {p for root in roots for p in root.rglob("*.py")}:
        text = path.read_text(encoding="utf-8")
        called.update(
            re.findall(r"registry\.(?:load|make|entry|entries)\(\s*\"(\w+)\"", text)
        )
        called.update(re.findall(r"make_registered\(\s*\"(\w+)\"", text))
        if "registry.make(KIND," in text or re.search(r"make_registered\(\s*KIND,", text):
            called.update(re.findall(r"^KIND = \"(\w+)\"", text, re.MULTILINE))
    assert registry.kinds() and set(registry.kinds()) <= called


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
