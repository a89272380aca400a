"""Plug-in packages: one entry point each, and a broken one takes nothing else along."""

import importlib
import json
import re
import sys
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from superalign_env import registry
from superalign_env.cli import build
from superalign_env.errors import UnknownId
from superalign_env.making import make_scenario

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
        if "registry.make(KIND," in text or "make_registered(KIND," in text:
            called.update(re.findall(r"^KIND = \"(\w+)\"", text, re.MULTILINE))
    assert registry.kinds() and set(registry.kinds()) <= called
