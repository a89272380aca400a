"""Records of earlier versions: brought up to date, exactly, with their seals unbroken.

``records/first.sql`` is the dump of a record that the first schema's own code wrote,
``records/first.json`` are the episodes that it was given. ``records/second.sql`` is that of
the second format of episodes: they were given to a stage, which noticed things and found
hazards.
"""

import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import RecordError, RecordLocked
from superalign_env.making import make_scenario
from superalign_env.rollout.replay import replay
from superalign_env.store import (
    EpisodeWriter,
    Run,
    costs_by_stage,
    digest,
    migrations,
    validate,
)
from superalign_env.store.folder import DATABASE
from superalign_env.store.lock import RunLock
from superalign_env.types import Episode, Event

RECORDS = Path(__file__).parent / "records"

EPISODES = from_json((RECORDS / "first.json").read_bytes(), list[Episode])


def unfolded(path, record):
    path.mkdir()
    with sqlite3.connect(path / DATABASE) as old:
        old.executescript((RECORDS / record).read_text(encoding="utf-8"))
    old.close()
    return path


@pytest.fixture
def folder(tmp_path):
    """A run folder of the first schema."""
    return unfolded(tmp_path / "old", "first.sql")


@pytest.fixture
def second(tmp_path):
    """A run folder of the second format."""
    return unfolded(tmp_path / "second", "second.sql")


@pytest.fixture(params=["first.sql", "second.sql"])
def any_folder(request, tmp_path):
    """A run folder of any earlier format."""
    return unfolded(tmp_path / "any", request.param)


def alter(folder, statement):
    with sqlite3.connect(folder / DATABASE) as old:
        assert old.execute(statement).rowcount
    old.close()


def add_mood(tables):
    tables.table("episodes").add_column("mood", str, not_null_default="")


@pytest.mark.parametrize("readonly", [True, False])
def test_an_earlier_record_is_migrated_and_keeps_its_episodes(
    monkeypatch, any_folder, readonly
):
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_mood))
    with Run.open(any_folder, readonly) as run:
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
        happened = run.database.rows(
            "SELECT episode, turn, seat, kind, evidence FROM events "
            "WHERE evidence NOT LIKE '%late%' ORDER BY episode, turn"
        )
        reads = run.utterances, run.rewards, run.grades, run.episodes
        return [list(read()) for read in reads] + [happened, costs_by_stage(run)]

    with (
        Run.open(folder) as old,
        Run.create(tmp_path / "new", kind="play", config={}, seed=0) as new,
        EpisodeWriter(new) as writer,
    ):
        writer.write(list(old.episodes()))
        writer.flush()
        assert rows(old) == rows(new)


def test_events_of_the_second_format_stay_where_they_are(second):
    seen = "SELECT * FROM events ORDER BY id"
    with sqlite3.connect(second / DATABASE) as old:
        before = old.execute(seen).fetchall()
    old.close()
    with Run.open(second) as run:
        assert run.database.rows(seen) == before
        assert run.events.kinds() == Counter(kind for *_, kind, _ in before)
        assert [h.event.kind for h in run.events.of_the_run()] == ["gate.accepted"]
        found = run.events.get(h.event for h in run.hazards.all())
        assert [h.event.kind for h in found.values()] == ["hazard.found", "verdict.given"]
        (points_at,) = {
            row[2] for row in run.database.rows("PRAGMA foreign_key_list(hazards)")
        }
        assert points_at == "notices"
        run.database.write("UPDATE hazards SET event = 99 WHERE prompt = ?", [("x",)])
        assert [problem.kind for problem in validate(run)] == ["reference"]


def test_what_is_noticed_later_is_told_from_what_happened_in_any_format(any_folder):
    with Run.open(any_folder) as run:
        before = digest(run)
        with EpisodeWriter(run) as writer:
            writer.write([replace(episode, id=f"{episode.id}-new") for episode in EPISODES])
        for episode in EPISODES:
            for name in (episode.id, f"{episode.id}-new"):
                number = run.events.add(Event("alarm.false", turn=1), episode=name)
                (noticed,) = run.events.read(episode=name, kind="alarm")
                assert noticed.id == number
                assert run.episode(name) == replace(episode, id=name)
        assert run.events.count("alarm.false") == 2 * len(EPISODES)
        after = digest(run)
        changed = {part for part in after if after[part] != before[part]}
        assert changed == {"episodes", "events", "run"}
        assert validate(run) == []


def test_a_stage_of_the_second_format_can_be_taken_back(second):
    alter(second, "UPDATE stages SET status = 'running'")
    with Run.open(second) as run:
        assert run.stages.discard("0001-play") == len(EPISODES)
        assert run.events.read() == [] and run.hazards.all() == []
        assert validate(run) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET kind = 'x' WHERE turn = 3",
        "UPDATE events SET evidence = '{}' WHERE id = 11",
        "DELETE FROM events WHERE turn = 3",
        "UPDATE episodes SET said = '[]'",
        "UPDATE episodes SET record = replace(record, '\"format\":2', '\"format\":3')",
        "UPDATE rules SET rules = '{}'",
    ],
)
def test_what_was_altered_in_the_second_format_is_found(second, statement):
    alter(second, statement)
    with Run.open(second) as run:
        assert {problem.kind for problem in validate(run)} >= {"episode"}


def test_nothing_can_be_slipped_into_the_row_of_an_earlier_format(any_folder):
    Run.open(any_folder).close()
    alter(any_folder, """UPDATE episodes SET happened = '[[0, "", "x", {}]]'""")
    with Run.open(any_folder) as run:
        assert len(validate(run)) == len(EPISODES)


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


def test_old_records_are_reproduced_by_replay(any_folder):
    with Run.open(any_folder) as run:
        episodes = list(run.episodes(scenario="red-team"))
        assert episodes
        for episode in episodes:
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


def test_who_only_reads_an_older_record_is_told_once(any_folder, caplog):
    for _ in range(2):
        Run.open(any_folder, readonly=True).close()
    (line,) = caplog.messages
    assert str(any_folder) in line and "cannot open it any more" in line


def test_an_older_record_in_use_is_not_touched(any_folder):
    lock = RunLock(any_folder)
    before = (any_folder / DATABASE).read_bytes()
    with pytest.raises(RecordLocked, match=r"earlier version.*already works on"):
        Run.open(any_folder, readonly=True)
    lock.release()
    assert (any_folder / DATABASE).read_bytes() == before
