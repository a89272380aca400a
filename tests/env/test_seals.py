"""What is missing, was added or altered in a run is named, in every table and every file."""

import hashlib
import json
import random
import shutil
import sqlite3
from contextlib import closing

import msgspec
import pytest
import xxhash

from superalign_env.envs import make_scenario
from superalign_env.errors import RecordError
from superalign_env.game import Game
from superalign_env.store import (
    Cell,
    EpisodeWriter,
    Run,
    declare,
    digest,
    examine,
    fork_record,
    question_id,
    repair,
    sealed_page,
    unsealed,
    validate,
)
from superalign_env.store.seals import OF_THE_RUN
from superalign_env.types import (
    AgentSpec,
    EpisodeKey,
    Event,
    Metric,
    Question,
    Reply,
    Signal,
)

declare("sealed_metric", "Declared for this test")


def played(case):
    game = Game(make_scenario("echo"), EpisodeKey(case=case))
    while not game.over:
        game.step([Reply("so", token_ids=(1, 2)) for _ in game.views()])
    return game.episode()


def do(run, number):
    """One stage that writes something into every table."""
    stage = run.stages.begin("step", round=number)
    with EpisodeWriter(run, stage=stage.id) as writer:
        writer.write([played(4 * number + n) for n in range(3)])
    name = played(4 * number).id
    event = run.events.add(Event("hazard.found"), stage=stage.id, episode=name)
    run.hazards.add("harm", f"prompt {number}", event=event, generation=number)
    place = run.path / "checkpoints" / f"c{number}"
    place.mkdir(parents=True)
    (place / "weights").write_text(str(number))
    spec, path = AgentSpec(f"kept-{number}"), f"checkpoints/c{number}"
    run.agents.add(spec, role="learner", generation=number, path=path)
    asked = question_id("label", name, 0)
    run.questions.ask([Question(asked, "label", name, 0)])
    person = f"ann-{number}"
    run.annotators.enroll(person, group="g")
    run.questions.claim(person)
    if number:  # the other one stays on the screen
        run.questions.answer(asked, person, value=1.0)
    run.signals.append([Signal("vote", name, 0, "model", 0.5)])
    values = [Metric("sealed_metric", 0.5), Metric(f"plain-{number}", 0.25)]
    run.metrics.write(values, stage=stage.id)
    memory = run.path / "checkpoints" / f"m{number}.json"
    memory.write_text(str(number))
    outputs = {"memory": {"path": f"checkpoints/m{number}.json"}}
    run.stages.finish(stage.id, outputs=outputs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run with a row in every table."""
    folder = tmp_path_factory.mktemp("sealed") / "run"
    with Run.create(folder, kind="train", config={"x": 1}, seed=3) as run:
        do(run, 0)
        do(run, 1)
        for seed in (0, 1):
            run.cells.put(Cell(f"cell-{seed}", "e", {}, seed, "1", "done", {"v": 1.0}))
        (folder / "summary.md").write_text("all is well\n")
        run.files.keep("summary.md")
        run.metrics.write([Metric("sealed_metric", 1.0)])
        run.set_status("done")
        page = sealed_page("<p>fine</p>\n", run)
    (folder / "report.html").write_text(page)
    return folder


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def alter(folder, script):
    """Run a script as another program would."""
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        connection.executescript(script)


def tables(folder):
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        return {
            name: connection.execute(f'PRAGMA table_info("{name}")').fetchall()
            for (name,) in names
        }


def unguarded(folder, table, statement):
    """Alter a table whose triggers refuse it, and put the triggers back."""
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?",
            (table,),
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        assert connection.execute(statement).rowcount > 0
        for _, sql in triggers:
            connection.execute(sql)
        connection.commit()


def last_row(folder, table):
    order = {"row_hashes": '"key"', "undo": "id"}.get(table, "rowid")
    return f'{order} = (SELECT max({order}) FROM "{table}")'


def require_found(folder):
    """Every problem is told with advice, and nothing is raised."""
    problems = examine(folder).problems
    assert problems
    assert all(problem.what and problem.advice for problem in problems)
    return problems


def test_a_run_as_it_was_written_has_no_problem(whole):
    assert examine(whole, with_digest=True)[:3] == ([], [], 6)
    for name in {*tables(whole)} - {"superseded"}:
        with Run.open(whole, readonly=True) as run:
            assert run.database.value(f'SELECT count(*) FROM "{name}"'), f"{name} is empty"


TABLES = [
    "runs",
    "stages",
    "undo",
    "agents",
    "cells",
    "seatings",
    "rules",
    "episodes",
    "notices",
    "metrics",
    "metric_kinds",
    "hazards",
    "signals",
    "questions",
    "leases",
    "annotators",
    "files",
    "row_hashes",
    "seals",
    "superseded",
]


def test_every_table_is_tried(whole):
    assert set(TABLES) == set(tables(whole))


WITH_ROWS = sorted({*TABLES} - {"superseded"})
"""Of a run that is done."""


@pytest.mark.parametrize("table", WITH_ROWS)
def test_a_row_that_is_missing_is_found(copy, table):
    unguarded(copy, table, f'DELETE FROM "{table}" WHERE {last_row(copy, table)}')
    require_found(copy)


@pytest.mark.parametrize("table", sorted({*WITH_ROWS} - {"leases", "row_hashes"}))
def test_a_row_that_is_missing_with_its_hash_is_found(copy, table):
    """A lease is no measurement, and ends by itself."""
    rows = tables(copy)
    key = [column[1] for column in rows[table] if column[5]] or ["rowid"]
    where = last_row(copy, table)
    with closing(sqlite3.connect(copy / "run.db")) as connection:
        name = "||':'||".join(f'"{column}"' for column in key)
        (value,) = connection.execute(
            f'SELECT {name} FROM "{table}" WHERE {where}'
        ).fetchone()
    unguarded(copy, table, f'DELETE FROM "{table}" WHERE {where}')
    unguarded(
        copy,
        "row_hashes",
        f"DELETE FROM row_hashes WHERE \"table\" = '{table}' AND \"key\" = '{value}'",
    )
    require_found(copy)


def more(run):
    """Add rows to all that outlives a stage, and change those that may change."""
    run.agents.add(AgentSpec("late"), role="learner")
    run.agents.accept(run.agents.all()[0].hash)
    run.annotators.enroll("late")
    run.annotators.enroll("ann-0", group="other")
    run.hazards.add("harm", "late", generation=9)
    run.hazards.update(run.hazards.all()[0].id, status="answered")
    for seed in (0, 2):
        run.cells.put(Cell(f"cell-{seed}", "e", {}, seed, "1", "done", {"v": 2.0}))
    (run.path / "summary.md").write_text("all is better\n")
    (run.path / "more.md").write_text("more\n")
    run.files.keep("summary.md", "more.md")
    run.metrics.write([Metric("late", 1.0)])
    run.events.add(Event("late"))
    run.questions.ask([Question("late", "label", played(0).id, 0)])
    with EpisodeWriter(run) as writer:
        writer.write([played(99)])


@pytest.fixture(scope="module", params=["killed", "stopped, resumed and killed"])
def left(whole, tmp_path_factory, request):
    """A run that a killed process left, with changes since its last seal."""
    folder = tmp_path_factory.mktemp("left") / "run"
    shutil.copytree(whole, folder)
    with Run.open(folder) as run:
        run.set_status("running")
        run.metrics.write([Metric("sealed_metric", 0.75)])
        run.events.add(Event("early"))
        with EpisodeWriter(run) as writer:
            writer.write([played(88)])
        if request.param == "killed":
            do(run, 2)
        else:
            run.stages.finish(run.stages.begin("half").id, status="interrupted")
    with Run.open(folder) as run:
        if request.param != "killed":
            run.stages.begin("half", again=run.stages.all()[-1].id)
        more(run)
        dead = shutil.copytree(folder, folder.with_name("dead"))
    alter(dead, "PRAGMA journal_mode = DELETE")
    return dead


KEYS = {
    "agents": "number",
    "annotators": "number",
    "cells": "number",
    "files": "path",
    "hazards": "number",
    "metric_kinds": "number",
    "questions": "number",
    "stages": "number",
    "superseded": '"table" || \':\' || "key"',
}
"""Table → its key, where that is not called ``id``."""


def replace(folder, table, other=None):
    """Remove a sealed row with its hash; put that of another run there, if there is one."""
    column, kept = KEYS.get(table, "id"), "sealed = 1"
    if table == "superseded":
        kept = "\"key\" LIKE 'hazards:%'"
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        hashed = f"row_hashes WHERE stage = '' AND \"table\" = '{table}' AND \"key\" = ?"
        key = connection.execute(
            f'SELECT "key" FROM row_hashes WHERE "table" = \'{table}\' AND {kept}'
        ).fetchone()
        row = f"{table} WHERE CAST({column} AS TEXT) = ?"
        connection.execute("ATTACH ? AS other", (str(other or ""),))
        for what in (hashed, row):
            assert connection.execute(f"DELETE FROM {what}", key).rowcount == 1
            name, where = what.split(maxsplit=1)
            if other is not None:
                added = f"INSERT INTO {name} SELECT * FROM other.{name} {where}"
                assert connection.execute(added, key).rowcount == 1
        connection.commit()


def test_what_a_killed_process_left_has_no_problem(left):
    assert examine(left).problems == []
    with Run.open(left, readonly=True) as run:
        assert run.database.value("SELECT count(*) FROM superseded")


@pytest.mark.parametrize("table", [*OF_THE_RUN, "superseded"])
def test_a_sealed_row_is_missed_among_later_ones(left, tmp_path, table):
    copy = shutil.copytree(left, tmp_path / "run")
    replace(copy, table)
    told = {"superseded": "hazards", "runs": "row of the run"}.get(table, table)
    assert any(told in problem.what for problem in require_found(copy))


@pytest.mark.parametrize("table", sorted({*OF_THE_RUN} - {"runs"}))
def test_another_sealed_row_with_its_hash_is_found(left, tmp_path, table):
    copy, other = (shutil.copytree(left, tmp_path / name) for name in ("run", "other"))
    column = [c[1] for c in tables(other)[table] if not c[5] and c[2] == "TEXT"][-1]
    with Run.open(other) as run:  # writes hashes that fit, as an older copy has them
        run.database.write(f'UPDATE "{table}" SET "{column}" = ?', [("x",)])
    replace(copy, table, other / "run.db")
    assert any(table in p.what or p.kind == table[:-1] for p in require_found(copy))


def test_what_was_lost_before_a_run_went_on_is_told_for_ever(left, tmp_path):
    copy = shutil.copytree(left, tmp_path / "run")
    replace(copy, "hazards")
    for _ in range(2):
        with Run.open(copy) as run:
            for stage in run.stages.all(status="running"):
                run.stages.discard(stage.id)
            run.stages.finish(run.stages.begin("next").id)
        assert [p.kind for p in require_found(copy) if "hazards" in p.what] == ["seal"]
    with Run.open(copy, readonly=True) as run:
        fork_record(run, tmp_path / "fork", stage="0001-step", config={}, seed=0)
    assert any("hazards" in p.what for p in require_found(tmp_path / "fork"))


def test_a_fork_of_what_lost_something_says_so(copy, tmp_path):
    replace(copy, "agents")
    with Run.open(copy, readonly=True) as run:
        fork_record(run, tmp_path / "fork", stage="0001-step", config={}, seed=0)
    assert any("agents" in problem.what for problem in require_found(tmp_path / "fork"))


@pytest.mark.parametrize("table", ["episodes", "metrics", "agents"])
@pytest.mark.parametrize("number", [-(1 << 63), -1, (1 << 63) - 1])
def test_every_row_number_is_looked_at(copy, table, number):
    key = KEYS.get(table, "id")
    alter(
        copy,
        f"CREATE TEMP TABLE t AS SELECT * FROM {table} LIMIT 1; "
        f'UPDATE t SET "{key}" = {number}{", hash = 9" if table == "agents" else ""}; '
        f"INSERT INTO {table} SELECT * FROM t; "
        f"UPDATE {table} SET rowid = {number} WHERE \"{key}\" = '{number}'",
    )
    assert any(table in p.what or str(number) in p.what for p in require_found(copy))


def test_a_stage_that_was_cut_off_with_its_hashes_is_found(copy):
    last = "SELECT id FROM stages ORDER BY number DESC LIMIT 1"
    with closing(sqlite3.connect(copy / "run.db")) as connection:
        (stage,) = connection.execute(last).fetchone()
        for table in ("episodes", "metrics", "notices", "undo", "row_hashes"):
            connection.execute(f"DELETE FROM {table} WHERE stage = ?", (stage,))
        connection.execute("DELETE FROM stages WHERE id = ?", (stage,))
        connection.execute("DELETE FROM row_hashes WHERE \"table\" = 'seals'")
        connection.execute("DELETE FROM seals WHERE stage IN (?, '')", (stage,))
        connection.commit()
    require_found(copy)


def test_the_page_of_another_run_is_found(copy, tmp_path):
    with Run.create(tmp_path / "other", kind="train", config={}, seed=3) as other:
        (copy / "report.html").write_text(sealed_page("<p>fine</p>\n", other))
    assert "another run" in require_found(copy)[0].what


def test_a_journal_that_would_be_played_back_is_found(copy):
    (copy / "run.db-journal").write_bytes(b"x" * 600)
    assert any("run.db-journal" in problem.what for problem in require_found(copy))


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("table", WITH_ROWS)
def test_a_column_that_was_altered_is_found(whole, tmp_path, table, every):
    columns = tables(whole)[table]
    unnoticed = []
    for _, column, kind, *_ in columns if every else columns[1::7]:
        folder = shutil.copytree(whole, tmp_path / column)
        new = {
            "INTEGER": f'coalesce("{column}", 0) + 7',
            "REAL": f'coalesce("{column}", 0) + 0.5',
        }.get(kind, f"coalesce(\"{column}\", '') || 'x'")
        where = last_row(folder, table)
        unguarded(folder, table, f'UPDATE "{table}" SET "{column}" = {new} WHERE {where}')
        try:
            unnoticed += [] if examine(folder).problems else [column]
        except RecordError as error:  # the name of a migration that nobody knows
            unnoticed += [] if "later version" in str(error) else [column]
    assert unnoticed == []


ADDED = {
    "runs": "INSERT INTO runs SELECT 'x', parent, kind, status, config, versions, revision, "
    "seed, inherited FROM runs",
    "episodes": "CREATE TEMP TABLE t AS SELECT * FROM episodes LIMIT 1; "
    "UPDATE t SET id = 'x'; INSERT INTO episodes SELECT * FROM t",
    "metrics": "INSERT INTO metrics(stage, agent, opponent, name, tags, value, n, step) "
    "VALUES ('0001-step', '', '', 'safety', '{}', 1.0, 9, 0)",
    "notices": "INSERT INTO notices(turn, seat, kind, evidence) VALUES (0, '', 'gate', '{}')",
    "hazards": "INSERT INTO hazards(id, kind, prompt, safe, generation, status) "
    "VALUES ('x', 'harm', '', '', 0, 'open')",
    "signals": "INSERT INTO signals SELECT id + 1, kind, episode, turn, versus, "
    "versus_episode, source, value, confidence, payload, question, previous, created "
    "FROM signals ORDER BY id DESC LIMIT 1",
    "annotators": """INSERT INTO annotators(id, token_hash, "group", profile)
    VALUES ('eve', '', '', '{}')""",
    "files": "INSERT INTO files VALUES ('checkpoints/c0/more', 'x')",
    "row_hashes": "INSERT INTO row_hashes VALUES ('', 'metrics', '99', 'x', 0)",
    "superseded": "INSERT INTO superseded VALUES ('agents', '9', 'x')",
    "seals": "INSERT INTO seals(stage, contents, previous, hash) SELECT '', contents, hash, "
    "'x' FROM seals ORDER BY id DESC LIMIT 1",
}


@pytest.mark.parametrize("table", ADDED)
def test_a_row_that_was_added_is_found(copy, table):
    alter(copy, ADDED[table])
    require_found(copy)


def swapped(table, column):
    return (
        f"UPDATE {table} SET {column} = -1 WHERE {column} = 1; "
        f"UPDATE {table} SET {column} = 1 WHERE {column} = 2; "
        f"UPDATE {table} SET {column} = 2 WHERE {column} = -1"
    )


SCRIPTS = {
    "order of metrics": swapped("metrics", "id"),
    "order of agents": swapped("agents", "number"),
    "order of stages": swapped("stages", "number"),
    "stage of an episode": "UPDATE episodes SET stage = '0001-step'",
    "broken JSON": "UPDATE stages SET outputs = '{'",
    "no UTF-8": "UPDATE metrics SET name = CAST(x'ff41' AS TEXT)",
    "a blob for a text": "UPDATE agents SET spec = x'00ff'",
    "a text for a number": "UPDATE metrics SET value = 'many'",
    "another type": "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = "
    "replace(sql, 'said TEXT NOT NULL', 'said TEXT') WHERE name = 'episodes'",
    "no index": "DROP INDEX metrics_by_name",
    "no view": "DROP VIEW rewards",
    "another view": "DROP VIEW rewards; CREATE VIEW rewards AS SELECT 1 AS value",
    "a table for a view": "DROP VIEW rewards; CREATE TABLE rewards (value)",
    "no trigger": "DROP TRIGGER signals_are_never_removed",
    "a trigger more": "CREATE TRIGGER x AFTER INSERT ON metrics BEGIN SELECT 1; END",
    "a table more": "CREATE TABLE more (x)",
    "a column more": "ALTER TABLE metrics ADD COLUMN more",
    "no table": "DROP TABLE metrics",
    "no seals": "DELETE FROM seals",
    "no hashes": "DELETE FROM row_hashes",
    "no seal and no hash of it": "DELETE FROM row_hashes WHERE \"table\" = 'seals'; "
    "DELETE FROM seals WHERE stage != ''",
    "a metric and its hash": "DELETE FROM row_hashes WHERE \"table\" = 'metrics' "
    "AND \"key\" = '1'; DELETE FROM metrics WHERE id = 1",
    "its mark": "PRAGMA application_id = 5",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_other_alterations_of_the_record_are_found(copy, name):
    alter(copy, SCRIPTS[name])
    require_found(copy)


FILES = {
    "no settings": lambda run: (run / "config.yaml").unlink(),
    "other settings": lambda run: (run / "config.yaml").write_text("x: 2\n"),
    "a forged summary": lambda run: (run / "summary.md").write_text("all is better\n"),
    "a forged report": lambda run: (run / "report.html").write_text("<p>better</p>"),
    "a checkpoint more": lambda run: shutil.copytree(
        run / "checkpoints/c0", run / "checkpoints/c9"
    ),
    "an empty folder": lambda run: (run / "checkpoints/c9").mkdir(),
    "other weights": lambda run: (run / "checkpoints/c0/weights").write_text("9"),
    "no weights": lambda run: (run / "checkpoints/c0/weights").unlink(),
    "a folder for weights": lambda run: (
        (run / "checkpoints/c0/weights").unlink(),
        (run / "checkpoints/c0/weights").mkdir(),
    ),
    "no checkpoint": lambda run: shutil.rmtree(run / "checkpoints/c1"),
    "another memory": lambda run: (run / "checkpoints/m0.json").write_text("9"),
    "a file more": lambda run: (run / "notes.txt").write_text("mine"),
    "a file more in a checkpoint": lambda run: (run / "checkpoints/c0/x").write_text(""),
    "a link": lambda run: (run / "checkpoints/link").symlink_to(run / "checkpoints/c0"),
    "a link to an equal file": lambda run: (
        (run / "summary.md").rename(run.parent / "elsewhere"),
        (run / "summary.md").symlink_to(run.parent / "elsewhere"),
    ),
    "a report that is a link": lambda run: (
        (run / "report.html").rename(run.parent / "elsewhere"),
        (run / "report.html").symlink_to(run.parent / "elsewhere"),
    ),
    "a folder for a report": lambda run: (
        (run / "report.html").unlink(),
        (run / "report.html").mkdir(),
    ),
    "a truncated record": lambda run: (run / "run.db").write_bytes(
        (run / "run.db").read_bytes()[:30_000]
    ),
    "an empty record": lambda run: (run / "run.db").write_bytes(b""),
    "no record": lambda run: (run / "run.db").write_bytes(b"abc" * 999),
    "another record": lambda run: (
        (run / "run.db").unlink(),
        alter(run, "CREATE TABLE mine (x)"),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_alterations_of_files_are_found(copy, name):
    FILES[name](copy)
    require_found(copy)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_random_bytes_never_raise_and_are_found(copy, whole, seed):
    def content(folder):
        with closing(sqlite3.connect(folder / "run.db")) as connection:
            return list(connection.iterdump())

    draw = random.Random(seed)
    raw = bytearray((copy / "run.db").read_bytes())
    place = draw.randrange(len(raw) - 64)
    for offset in range(draw.choice([1, 4, 64])):
        raw[place + offset] = draw.randrange(256)
    (copy / "run.db").write_bytes(raw)
    try:
        problems = examine(copy).problems
    except RecordError:
        return  # in words, too
    assert problems or content(copy) == content(whole), "only unused bytes may go unseen"


def test_what_is_missing_is_named(copy):
    names = [played(n).id for n in range(3)]
    alter(copy, "DELETE FROM episodes WHERE stage = '0001-step'")
    (found,) = [p for p in examine(copy).problems if p.kind == "episode"]
    assert (
        "3 rows of episodes" in found.what
        and "of stage 0001-step are missing" in found.what
    )
    assert all(name in found.what for name in names)


def test_an_episode_of_another_stage_is_said_to_be_moved(copy):
    name = played(0).id
    alter(copy, f"UPDATE episodes SET stage = '0002-step' WHERE id = '{name}'")
    (found,) = require_found(copy)
    assert found.what == f"{name} was moved from 0001-step to 0002-step"


def test_what_is_written_later_is_sealed_when_the_run_is_closed(copy):
    with Run.open(copy, beside=True) as run:
        run.signals.append([Signal("label", played(0).id, 0, "bob", 1.0)])
        run.annotators.enroll("bob")
        assert validate(run) == []
        assert unsealed(run) == ["after the last seal: 1 annotators, 1 signals"]
    assert examine(copy)[:2] == ([], [])
    alter(copy, "DELETE FROM annotators WHERE id = 'bob'")
    assert "row" in require_found(copy)[0].what


def test_what_a_running_stage_wrote_is_said_to_be_unsealed(copy):
    with Run.open(copy) as run:
        stage = run.stages.begin("more")
        run.metrics.write([Metric("n", 1.0)], stage=stage.id)
    assert examine(copy).problems == []
    assert examine(copy).unsealed == [
        f"stage {stage.id} has not ended: 1 metrics of it is unsealed"
    ]


def test_going_on_seals_nothing_that_was_altered(copy):
    alter(copy, "UPDATE metrics SET value = 1.0 WHERE id = 1")
    before = require_found(copy)
    with Run.open(copy) as run:
        do(run, 2)
    assert examine(copy).problems == before
    assert repair(copy) == [] and examine(copy).problems == before


def test_doctor_makes_anew_what_comes_from_the_record(copy):
    for name in ("no index", "another view", "no trigger", "a trigger more"):
        alter(copy, SCRIPTS[name])
    FILES["no settings"](copy)
    (copy / "summary.md.partial").write_text("all")
    assert len(repair(copy)) == 6
    assert examine(copy).problems == []


def test_doctor_clears_away_what_a_killed_process_left(copy):
    with Run.open(copy) as run:
        run.set_status("running")
        run.stages.begin("more")
        (copy / "checkpoints" / "half").mkdir()
    repair(copy)
    assert not (copy / "checkpoints" / "half").exists()
    with Run.open(copy, readonly=True) as run:
        assert run.info.status == run.stages.all()[-1].status == "interrupted"
    assert examine(copy).problems == []


def test_doctor_writes_no_settings_that_the_record_does_not_prove(copy):
    alter(copy, "UPDATE runs SET config = '{\"x\":2}'")
    FILES["no settings"](copy)
    assert repair(copy) == [] and not (copy / "config.yaml").exists()


def test_a_digest_survives_copies_and_vacuum_and_sees_what_was_sealed_anew(
    whole, copy, tmp_path
):
    expected = examine(whole, with_digest=True).digest
    alter(copy, "VACUUM")
    assert examine(copy, with_digest=True) == ([], [], 6, expected)
    with Run.open(copy) as run:  # its own triggers write new hashes
        run.database.write("UPDATE metrics SET value = 1.0 WHERE name = ?", [("plain-0",)])
        changed = digest(run)
    assert {part for part in changed if changed[part] != expected[part]} == {
        "metrics",
        "run",
    }


def blake(text):
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def test_hashes_can_be_computed_as_the_documentation_says(whole):
    with closing(sqlite3.connect(whole / "run.db")) as connection:

        def rows(sql):
            return connection.execute(sql).fetchall()

        (metric,) = rows("SELECT * FROM metrics WHERE id = 1")
        ((kept,),) = rows(
            "SELECT hash FROM row_hashes WHERE stage = '0001-step' "
            "AND \"table\" = 'metrics' AND \"key\" = '1'"
        )
        assert kept == xxhash.xxh3_128_hexdigest(msgspec.msgpack.encode(metric))
        assert dict(rows("SELECT path, hash FROM files"))["config.yaml"] == blake(
            (whole / "config.yaml").read_bytes()
        )
        before = ""
        for stage, contents, previous, mark in rows(
            "SELECT stage, contents, previous, hash FROM seals ORDER BY id"
        ):
            assert previous == before
            said = json.dumps(
                [stage, contents, previous], separators=(",", ":"), ensure_ascii=False
            )
            assert mark == blake(said.encode())
            before = mark
        assert [stage for (stage,) in rows("SELECT stage FROM seals")] == [
            "0001-step",
            "0002-step",
            "",
        ]
        named = rows(
            "SELECT \"key\", hash FROM row_hashes WHERE stage = '0002-step' "
            'AND "table" = \'episodes\' ORDER BY "key"'
        )
        (contents,) = rows("SELECT contents FROM seals WHERE stage = '0002-step'")[0]
        lines = "".join(f"{key} {mark}\n" for key, mark in named)
        assert json.loads(contents)["tables"]["episodes"] == [3, blake(lines.encode())]
