"""``superalign ladder build`` and ``superalign ladder show`` on the real microworld."""

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from superalign_agents.ladders import RungReference, read_card
from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.experiments.microworld.ladder import micro_world
from superalign_training.ladder.commands import app, levels, numbers
from superalign_training.ladder.ladder_tables import show_ladder

BUILD = ("build", "--rungs", "0", "--seeds", "7", "--steps", "2", "--tasks", "4")


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUPERALIGN_LADDERS", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, arguments, catch_exceptions=False)


def test_a_built_rung_can_be_seated_shown_and_continued(own_root: Path) -> None:
    built = run(*BUILD)
    assert built.exit_code == 0
    assert str(own_root / "micro" / "0@7") in built.output.replace("\n", "")
    assert isinstance(make_agent("micro/0@7"), TransformerAgent)

    added = run(*BUILD, "--add", "strings")
    assert added.exit_code == 0
    card = read_card(own_root / "micro-strings" / "0@7")
    assert card["continues"] == read_card(own_root / "micro" / "0@7")["policy"]
    assert card["corpus"] == micro_world("strings").settings != micro_world().settings

    pictures = own_root / "pictures"
    shown = run("show", "micro-strings", "--pictures", str(pictures))
    assert shown.exit_code == 0
    assert "capacity of micro-strings in strings" in shown.output
    assert "micro-strings/0" in shown.output
    assert "5,530" in shown.output
    assert "understood moves" in shown.output
    families = ("arithmetic", "requests", "strings", "writing")
    assert {path.name for path in pictures.iterdir()} == {
        f"{family}.{suffix}" for family in families for suffix in ("png", "svg")
    }
    assert all(path.stat().st_size > 1000 for path in pictures.iterdir())


def test_a_ladder_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownId, match="micra"):
        run("show", "micra")


def test_a_broken_list_of_numbers_is_a_usage_error() -> None:
    assert run("build", "--rungs", "zero").exit_code == 2


def test_lists_of_numbers_are_read() -> None:
    assert numbers("0-2,4") == [0, 1, 2, 4]
    assert RungReference("micro", 4, 2).folder_name == "4@2"


def test_presets_of_published_models_are_shown() -> None:
    shown = run("show", "qwen2.5")
    assert shown.exit_code == 0
    for rung in ("0.5B", "1.5B", "3B", "7B", "7B-Instruct"):
        assert f"qwen2.5/{rung}" in shown.output


def test_levels_of_one_run_can_be_built_seated_and_shown(own_root: Path) -> None:
    built = run(*BUILD, "--snapshots", "2")
    assert built.exit_code == 0
    cards = [read_card(own_root / "micro-snapshots" / f"{level}@7") for level in range(2)]
    assert [card["pretraining"]["step"] for card in cards] == [1, 2]
    assert isinstance(make_agent("micro-snapshots/1@7"), TransformerAgent)
    assert "micro-snapshots/1" in run("show", "micro-snapshots").output


def test_snapshots_are_of_one_rung_and_of_levels_that_make_sense() -> None:
    assert run("build", "--rungs", "0-1", "--snapshots", "3").exit_code == 2
    assert run("build", "--snapshots", "many").exit_code == 2
    assert run("build", "--add", "strings", "--snapshots", "3").exit_code == 2
    with pytest.raises(InvalidOption, match="make no ladder"):
        run("build", "--snapshots", "0.9,0.7")
    assert levels("12") == 12
    assert levels("0.7,0.8") == (0.7, 0.8)


@pytest.mark.parametrize("family", ["micro", "qwen2.5"])
def test_what_one_types_is_never_cut(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns; the shipped ladder, which the own root does not hide."""
    narrow = Console(width=80, record=True, file=sys.stderr)
    monkeypatch.setattr("superalign_env.cli.output.console", narrow)
    show_ladder(family)
    lines = narrow.export_text().splitlines()
    names = [line.split()[0] for line in lines if line.startswith(f"{family}/")]
    assert names and not any("…" in line for line in lines)
    heads = [line for line in lines if line.startswith("rung")]
    assert len(names) % len(heads) == 0  # no name is wrapped, no table lacks one
    assert not [line for line in lines if line.startswith(" ") and line.strip()]


def test_showing_imports_no_torch() -> None:
    code = (
        "import sys; from superalign_training.ladder.commands import app; "
        "app(['show', 'micro'], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert b"micro" in done.stdout
