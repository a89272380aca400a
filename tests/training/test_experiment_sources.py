"""The hash beside the revision: code that may change a result changes it, words do not."""

import importlib
import os
import sys

import pytest

from superalign_training.experiments import first_self_play
from superalign_training.experiments.engine import cache
from superalign_training.experiments.engine.cache import changed, snapshot

FILE = '''
"""A plug-in's experiment."""
from plugged.rates import RATE

def cell(params, seed, context):
    """Return it."""
    return {"value": scaled(RATE)}

def scaled(x):
    return FACTOR * x

FACTOR = 2

def reduce(outcomes):
    return outcomes
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package outside of ours."""
    folder = tmp_path / "plugged"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "rates.py").write_text("RATE = 3\n")
    (folder / "other.py").write_text("NOTHING = 0\n")
    (folder / "weights.json").write_text("[1]")
    (folder / "experiment.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [n for n in sys.modules if n.split(".")[0] == "plugged"]:
        del sys.modules[name]


def write(path, text):
    """Write a file anew, a second later: within one tick of a clock nobody would notice."""
    before = path.stat().st_mtime
    path.write_text(text)
    os.utime(path, (before + 1, before + 1))


def taken():
    """What the files say now."""
    return snapshot(importlib.import_module("plugged.experiment").cell)


def ours(names):
    """The plug-in's part: somebody may be editing the rest just now."""
    return [name for name in names if name.startswith("plugged/")]


@pytest.mark.parametrize(
    ("file", "old", "new", "names"),
    [
        ("experiment.py", "Return it", "Give it back", []),
        ("experiment.py", "A plug-in's", "Somebody's", []),
        ("experiment.py", "return outcomes", "return None  # nothing", []),
        ("experiment.py", "FACTOR = 2", "FACTOR = 2  # twice", []),
        ("experiment.py", "FACTOR = 2", "FACTOR = 4", ["plugged/experiment.py"]),
        ("experiment.py", "FACTOR * x", "x", ["plugged/experiment.py"]),
        ("rates.py", "3", "4", ["plugged/rates.py"]),
        ("weights.json", "1", "2", ["plugged/weights.json"]),
    ],
)
def test_what_a_cell_reaches_counts_and_words_do_not(package, file, old, new, names):
    before = taken()
    path = package / file
    write(path, path.read_text().replace(old, new))
    assert ours(changed(before, taken())) == names


def test_an_experiment_that_is_a_folder_counts_whole(package, monkeypatch):
    monkeypatch.setattr(cache, "_EXPERIMENTS", "plugged/")
    assert set(ours(taken())) == {
        f"plugged/{name}"
        for name in ("__init__.py", "experiment.py", "other.py", "rates.py", "weights.json")
    }


def test_new_and_removed_files_are_changes(package):
    before = taken()
    (package / "other.py").unlink()
    (package / "newer.py").write_text("")
    found = ours(changed(before, taken()))
    assert found == ["plugged/newer.py", "plugged/other.py"]


def test_a_snapshot_holds_what_is_made_by_id_and_leaves_out_what_computes_nothing():
    found = snapshot(first_self_play.cell)
    for name in (
        "superalign_env/game.py",
        "superalign_scenarios/red_team/__init__.py",
        "superalign_training/selfplay/driver.py",
        "superalign_agents/ladders/micro/3@0/model.safetensors",
        "experiments/first_self_play.py",
        "torch (version)",
    ):
        assert name in found
    idle = ("cli/", "/engine/", "commands.py", "testing/", "__pycache__")
    assert [name for name in found if any(part in name for part in idle)] == []
    experiments = [name for name in found if "experiments/" in name]
    assert experiments == ["experiments/first_self_play.py"]
