"""A record of an earlier schema is brought up to date; one of a later schema is refused."""

import sqlite3

import pytest

from superalign_env.envs import make_scenario
from superalign_env.errors import RecordError, RecordLocked, RecordTooNew
from superalign_env.game import Game
from superalign_env.store import EpisodeWriter, Run, digest, migrations, validate
from superalign_env.store.run_folder import DATABASE, RunLock
from superalign_env.types import EpisodeKey, Reply


def played():
    game = Game(make_scenario("echo"), EpisodeKey())
    while not game.over:
        game.step([Reply("word") for _ in game.views()])
    return game.episode()


def m0002_moods(tables):
    """A step that nobody has released."""
    tables.executescript(
        "CREATE TABLE moods (episode TEXT NOT NULL REFERENCES episodes(id));"
        "ALTER TABLE episodes ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm';"
    )


def m0002_broken(tables):
    """A step that fails half-way."""
    tables.executescript("ALTER TABLE episodes ADD COLUMN half; SELECT x FROM nowhere")


@pytest.fixture
def folder(tmp_path):
    """A run folder with an episode, of today's schema."""
    path = tmp_path / "run"
    with (
        Run.create(path, kind="play", config={}, seed=0) as run,
        EpisodeWriter(run) as writer,
    ):
        writer.write([played()])
    return path


@pytest.fixture
def later(monkeypatch):
    """A version of the package that knows one step more."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m0002_moods))
        yield patch


def dump(folder):
    with sqlite3.connect(folder / DATABASE) as connection:
        lines = list(connection.iterdump())
    connection.close()
    return lines


@pytest.mark.parametrize("readonly", [True, False])
def test_an_earlier_record_is_migrated_and_keeps_its_episodes(folder, later, readonly):
    with Run.open(folder, readonly) as run:
        assert migrations.applied(run.database) == ["m0001_tables", "m0002_moods"]
        assert run.database.rows("SELECT mood FROM episodes") == [("calm",)]
        assert run.database.rows("SELECT * FROM moods") == []
        assert run.episode(played().id) == played()
        assert validate(run) == []


def test_a_migrated_record_is_as_one_that_was_made_so(folder, later, tmp_path):
    with (
        Run.create(tmp_path / "new", kind="play", config={}, seed=0) as new,
        EpisodeWriter(new) as writer,
        Run.open(folder, readonly=True) as old,
    ):
        writer.write(old.episodes())
        writer.flush()
        schema = "SELECT name, sql FROM sqlite_master ORDER BY name"
        assert new.database.rows(schema) == old.database.rows(schema)
        assert digest(new)["episodes"] == digest(old)["episodes"]


@pytest.mark.parametrize("readonly", [True, False])
def test_who_does_not_know_a_step_refuses_the_record(folder, later, readonly):
    Run.open(folder).close()
    later.undo()
    before = dump(folder)
    with pytest.raises(RecordTooNew, match=r"m0002_moods.*upgrade"):
        Run.open(folder, readonly)
    assert dump(folder) == before


def test_a_step_that_fails_leaves_the_record_as_it_was(folder, monkeypatch):
    before = dump(folder)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, m0002_broken))
        with pytest.raises(RecordError, match="nowhere"):
            Run.open(folder)
    assert dump(folder) == before
    with Run.open(folder) as run:
        assert run.episode(played().id) == played()


def test_steps_have_rising_names():
    names = [step.__name__ for step in migrations.MIGRATIONS]
    assert [int(name[1:5]) for name in names] == list(range(1, len(names) + 1))


def test_who_only_reads_an_earlier_record_is_told_once(folder, later, caplog):
    for _ in range(2):
        Run.open(folder, readonly=True).close()
    (line,) = caplog.messages
    assert str(folder) in line and "cannot open it any more" in line


def test_an_earlier_record_in_use_is_not_touched(folder, later):
    lock = RunLock(folder)
    before = dump(folder)
    with pytest.raises(RecordLocked, match=r"earlier version.*already works on"):
        Run.open(folder, readonly=True)
    lock.release()
    assert dump(folder) == before
