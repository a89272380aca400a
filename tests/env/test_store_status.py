"""How a run stands when its block ends."""

from contextlib import nullcontext

import pytest
from msgspec.structs import replace

from superalign_env.errors import RecordError
from superalign_env.game import Game
from superalign_env.making import make_scenario
from superalign_env.store import EpisodeWriter, Run
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
