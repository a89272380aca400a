"""A run folder: how the run ended, and a disk without room for it."""

import errno
from contextlib import nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from superalign_env.envs import make_scenario
from superalign_env.errors import RecordError, RecordFull
from superalign_env.game import Game
from superalign_env.store import EpisodeWriter, Run
from superalign_env.store.database import is_full, reporting_full_disk
from superalign_env.types import EpisodeKey, Reply


def played():
    game = Game(make_scenario("echo"), EpisodeKey(0))
    while not game.over:
        game.step([Reply("so") for _ in game.views()])
    return game.episode()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "done"), (ValueError, "failed"), (KeyboardInterrupt, "interrupted")],
)
def test_a_run_says_how_it_ended(folder, error, status):
    with (
        pytest.raises(error) if error else nullcontext(),
        Run.create(folder, kind="play", config={}, seed=0) as run,
    ):
        writer = EpisodeWriter(run)
        writer.write([played()])
        if error is not None:
            raise error
    with Run.open(folder) as again:  # opened, and not made: nothing is said of it
        assert (again.info.status, again.count()) == (status, 1)
        again.set_status("running")
    with Run.open(folder, readonly=True) as reader:
        assert reader.info.status == "running"


def test_what_somebody_said_of_a_run_stands(folder):
    with (
        pytest.raises(ValueError, match="late"),
        Run.create(folder, kind="play", config={}, seed=0) as run,
    ):
        run.set_status("done")
        raise ValueError("late")
    with Run.open(folder, readonly=True) as reader:
        assert reader.info.status == "done"


def test_a_run_that_could_not_be_written_is_not_done(folder):
    with (
        pytest.raises(RecordError, match="cannot be recorded"),
        Run.create(folder, kind="play", config={}, seed=0) as run,
    ):
        EpisodeWriter(run).write([replace(played(), arm="\ud800")])
    with Run.open(folder, readonly=True) as reader:
        assert reader.info.status == "failed"


def full(*args: object, **options: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (Exception("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (Exception("Permission denied (os error 13)"), False),
        (ValueError("28"), False),
    ],
)
def test_a_full_disk_is_known_by_its_number(error: Exception, expected: bool) -> None:
    assert is_full(error) == expected
    with (
        pytest.raises(RecordFull if expected else type(error)) as caught,
        reporting_full_disk(Path("x")),
    ):
        raise error
    if expected:
        assert "no room left for x" in str(caught.value)
        assert "continue with --resume" in str(caught.value)


def test_a_run_for_which_there_is_no_room_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordFull, match=r"config\.yaml"):
        Run.create(tmp_path / "run", kind="play", config={}, seed=0)
    monkeypatch.undo()
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        assert run.count() == 0, "once there is room it can be made"
