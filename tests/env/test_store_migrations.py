"""Records of earlier versions: brought up to date, exactly, with their seals unbroken.

``records/first.sql`` is the dump of a record that the first schema's own code wrote,
``records/first.json`` are the episodes that it was given.
"""

import sqlite3
from pathlib import Path

import pytest

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import RecordError
from superalign_env.making import make_scenario
from superalign_env.rollout.replay import replay
from superalign_env.store import EpisodeWriter, Run, costs_by_stage, migrations, validate
from superalign_env.store.folder import DATABASE
from superalign_env.types import Episode

RECORDS = Path(__file__).parent / "records"

EPISODES = from_json((RECORDS / "first.json").read_bytes(), list[Episode])


@pytest.fixture
def folder(tmp_path):
    """A run folder of the first schema."""
    path = tmp_path / "old"
    path.mkdir()
    with sqlite3.connect(path / DATABASE) as old:
        old.executescript((RECORDS / "first.sql").read_text(encoding="utf-8"))
    old.close()
    return path


def alter(folder, statement):
    with sqlite3.connect(folder / DATABASE) as old:
        assert old.execute(statement).rowcount
    old.close()


def add_mood(tables):
    tables.table("episodes").add_column("mood", str, not_null_default="")


@pytest.mark.parametrize("readonly", [True, False])
def test_a_record_of_the_first_schema_is_migrated_and_keeps_its_episodes(
    monkeypatch, folder, readonly
):
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_mood))
    with Run.open(folder, readonly) as run:
        assert run.database.rows("SELECT DISTINCT mood FROM episodes") == [("",)]
        assert migrations.applied(run.database)[-1] == "add_mood"
        for episode in EPISODES:
            back = run.episode(episode.id)
            assert back == episode
            assert to_json(back) == to_json(episode)
        assert validate(run) == []


def test_what_lay_in_tables_is_seen_in_views(folder):
    tables = {
        "seats": "episode, seat, role, agent",
        "utterances": "episode, turn, seat, text, prompt_ids, token_ids, logprobs, policy",
        "rewards": "episode, turn, seat, part, value",
        "grades": "episode, turn, seat, axis, name, value",
    }
    counted = "SELECT coalesce(stage, ''), count(*) FROM episodes GROUP BY 1"
    with sqlite3.connect(folder / DATABASE) as old:
        before = {
            table: old.execute(f"SELECT {columns} FROM {table} ORDER BY episode, rowid")
            for table, columns in tables.items()
        }
        before = {table: rows.fetchall() for table, rows in before.items()}
        assert old.execute(counted).fetchall()
    old.close()
    Run.open(folder).close()
    with sqlite3.connect(folder / DATABASE) as new:
        for table, columns in tables.items():
            found = new.execute(f"SELECT * FROM {table}")
            assert ", ".join(column[0] for column in found.description) == columns
            rows = sorted(found, key=lambda row: row[0])  # stable: order within an episode
            assert rows == before[table], table
            (name,) = {row[0] for row in rows[:1]}
            one = new.execute(f"SELECT * FROM {table} WHERE episode = ?", (name,))
            assert one.fetchall() == [row for row in rows if row[0] == name]
    new.close()


def test_rows_are_read_from_old_records_as_from_new_ones(folder, tmp_path):
    def rows(run):
        return [
            list(read()) for read in (run.utterances, run.rewards, run.grades, run.episodes)
        ] + [costs_by_stage(run)]

    with (
        Run.open(folder) as old,
        Run.create(tmp_path / "new", kind="play", config={}, seed=0) as new,
        EpisodeWriter(new) as writer,
    ):
        writer.write(list(old.episodes()))
        writer.flush()
        assert rows(old) == rows(new)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE utterances SET text = 'comply' WHERE turn = 0",
        "UPDATE utterances SET prompt_ids = x'00' WHERE turn = 0",
        "UPDATE utterances SET logprobs = 'words' WHERE turn = 0",
        "UPDATE rewards SET value = value + 1",
        "UPDATE rewards SET value = 9e999",
        "UPDATE grades SET name = 'x'",
        "UPDATE seats SET role = 'x'",
        "UPDATE seats SET seat = 'x' WHERE seat = 'learner_0'",
        "UPDATE seats SET agent = 'x'",
        "UPDATE episodes SET split = 'gate'",
        "UPDATE episodes SET record = '{}'",
        "UPDATE episodes SET record = replace(record, 'pelican', 'x') || ' '",
        "UPDATE events SET kind = 'x' WHERE turn = 3",
        "DELETE FROM utterances",
        "DELETE FROM seats",
    ],
)
def test_what_was_altered_before_is_found_after(folder, statement):
    alter(folder, statement)
    with Run.open(folder) as run:
        assert len(run.episode_ids()) == len(EPISODES)
        damage = validate(run)
    if "' '" in statement:
        assert damage == []  # white space outside what is sealed
    else:
        assert {problem.kind for problem in damage} <= {"episode", "reference"}
        assert "episode" in {problem.kind for problem in damage}


def test_old_records_are_reproduced_by_replay(folder):
    with Run.open(folder) as run:
        for episode in run.episodes(scenario="red-team"):
            found = replay(episode, make_scenario("red-team", **episode.options))
            assert found.same, found.differences


def test_a_migration_that_fails_leaves_the_record_as_it_was(monkeypatch, folder):
    def half(tables):
        tables.executescript(
            "ALTER TABLE episodes ADD COLUMN half; SELECT nonsense FROM nowhere"
        )

    before = (folder / DATABASE).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, half))
        with pytest.raises(RecordError):
            Run.open(folder)
    with sqlite3.connect(folder / DATABASE) as same, sqlite3.connect(":memory:") as old:
        old.executescript((RECORDS / "first.sql").read_text(encoding="utf-8"))
        assert list(same.iterdump()) == list(old.iterdump())
    assert before
    same.close()
    old.close()
    with Run.open(folder) as again:
        columns = [row[1] for row in again.database.rows("PRAGMA table_info(episodes)")]
        assert "half" not in columns


def test_migrations_have_unique_rising_names():
    names = [step.__name__ for step in migrations.MIGRATIONS]
    assert [int(name[1:5]) for name in names] == list(range(1, len(names) + 1))
