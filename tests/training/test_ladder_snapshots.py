"""A ladder out of one run: levels are snapshots, whole, resumable, never mixed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from superalign_agents.checkpoints import load_model, weights_hash
from superalign_agents.ladders import find_rungs, read_card
from superalign_env.errors import InvalidOption
from superalign_training.experiments.microworld.ladder import micro_world
from superalign_training.ladder import build as building
from superalign_training.ladder.build import build
from superalign_training.ladder.snapshots import Levels, Reached, evenly, snapshots

WORLD = micro_world(tasks=2)
STEPS = 9


def made(out: Path, at: Levels = (3, 6, 9), **options: object) -> list[Path]:
    given = {"rung": 0, "steps": STEPS, "family": "few", **options}
    return snapshots(WORLD, at=at, out=out, **given)  # type: ignore[arg-type]


def hashes(folders: list[Path]) -> list[str]:
    return [weights_hash(load_model(folder, device="cpu")) for folder in folders]


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards without measures: what takes longest, and changes no weights."""
    for name in ("measure", "measure_moves"):
        monkeypatch.setattr(building, name, lambda *given: ())


@pytest.fixture(scope="module")
def whole(once: Callable[..., Path]) -> list[Path]:
    return sorted(once("levels", made).glob("few/?@0"))


def test_levels_are_rungs_of_one_run(whole: list[Path]) -> None:
    assert [folder.name for folder in whole] == ["0@0", "1@0", "2@0"]
    found = find_rungs((whole[0].parents[1],))
    assert [str(reference) for reference in found] == ["few/0@0", "few/1@0", "few/2@0"]
    cards = [read_card(folder) for folder in whole]
    assert [card["pretraining"]["step"] for card in cards] == [3, 6, 9]
    assert [card["policy"] for card in cards] == hashes(whole)
    assert len(set(hashes(whole))) == 3
    assert {m["name"] for m in cards[0]["measures"]} == {"capacity", "utility", "moves"}
    assert not list(whole[0].parent.glob(".building/*.safetensors"))


@pytest.mark.usefixtures("unmeasured")
def test_the_last_level_is_the_rung_that_is_built_without_levels(
    whole: list[Path], tmp_path: Path
) -> None:
    rung = build(WORLD, family="plain", rungs=(0,), out=tmp_path, steps=STEPS)
    assert hashes(rung) == hashes(whole[-1:])


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("killed_at", [2, 5, 6])
def test_a_run_that_was_killed_goes_on_exactly(
    whole: list[Path], tmp_path: Path, killed_at: int
) -> None:
    def kill(reference: object, step: int, steps: int, loss: float) -> None:
        if step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, watch=kill)
    assert hashes(made(tmp_path)) == hashes(whole)


@pytest.mark.usefixtures("unmeasured")
def test_a_run_that_looks_goes_on_exactly_as_well(tmp_path: Path) -> None:
    wanted = Reached((0.1, 0.15), every=2, tasks=40)

    def kill(reference: object, step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "killed", at=wanted, watch=kill)
    assert hashes(made(tmp_path / "killed", at=wanted)) == hashes(
        made(tmp_path / "whole", at=wanted)
    )


def test_finished_levels_are_not_built_again(whole: list[Path]) -> None:
    def never(reference: object, step: int, steps: int, loss: float) -> None:
        raise AssertionError("a finished run was trained again")

    assert made(whole[0].parents[1], watch=never) == whole


def test_a_ladder_of_another_run_is_not_mixed_in(whole: list[Path]) -> None:
    with pytest.raises(InvalidOption, match="another family name"):
        made(whole[0].parents[1], at=(3, 6, 8))


@pytest.mark.usefixtures("unmeasured")
def test_levels_may_be_chosen_by_what_is_known_and_are_never_the_same(
    tmp_path: Path,
) -> None:
    wanted = Reached((0.1, 0.15, 0.2), every=2, tasks=40)
    cards = [read_card(folder) for folder in made(tmp_path, at=wanted)]
    steps = [card["pretraining"]["step"] for card in cards]
    assert steps == sorted(set(steps)) and all(step % 2 == 0 for step in steps)
    for card, share in zip(cards, wanted.shares, strict=True):
        assert card["pretraining"]["known"] >= share


@pytest.mark.usefixtures("unmeasured")
def test_what_the_run_never_learns_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"after 9 steps .* wants 1"):
        made(tmp_path, at=Reached((1.0,), every=4, tasks=40))


@pytest.mark.parametrize(
    "at", [(), (0, 3), (3, 3), (6, 3), (3, 10), Reached(()), Reached((0.9, 0.8))]
)
def test_levels_that_make_no_ladder_are_refused(tmp_path: Path, at: Levels) -> None:
    with pytest.raises(InvalidOption, match="make no ladder"):
        made(tmp_path, at=at)


def test_even_levels_end_with_the_run() -> None:
    assert evenly(4, steps=2000) == (500, 1000, 1500, 2000)
    assert evenly(3, steps=10) == (3, 6, 10)
