"""Alterations of tables, views, indices and triggers."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from altered_rows import Alteration, connected, rewrite_schema


def execute(*statements: str) -> Callable[[Path], None]:
    """Return the change that runs statements as they are, triggers and all."""

    def alter(folder: Path) -> None:
        with closing(connected(folder)) as db:
            for statement in statements:
                db.execute(statement)

    return alter


def redefine(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    """Return the change that makes a view, an index or a trigger anew from a changed text."""

    def alter(folder: Path) -> None:
        with closing(connected(folder)) as db:
            kind, sql = db.execute(
                "SELECT type, sql FROM sqlite_master WHERE name = ?", (name,)
            ).fetchone()
            changed = change(sql)
            if changed == sql:
                raise ValueError(f"{name}: nothing to change in {sql}")
            db.execute(f"DROP {kind} {name}")
            db.execute(changed)

    return alter


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return the change of the stored text of a table, behind SQLite's back."""

    def change(found: str, sql: str) -> str:
        return sql.replace(old, new, 1) if found == name else sql

    return partial(_rewritten, change=change)


def _rewritten(folder: Path, change: Callable[[str, str], str]) -> None:
    with closing(connected(folder)) as db:
        before = db.execute("SELECT name, sql FROM sqlite_master").fetchall()
    rewrite_schema(folder, change)
    with closing(connected(folder)) as db:
        if db.execute("SELECT name, sql FROM sqlite_master").fetchall() == before:
            raise ValueError("nothing to change")


def _empty_index(folder: Path) -> None:
    """Leave an index without entries: whoever looks rows up by it finds none."""
    with closing(connected(folder)) as db:
        (sql,) = db.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'metrics_by_name'"
        ).fetchone()
        db.execute("DROP INDEX metrics_by_name")
        db.execute("CREATE INDEX metrics_by_name ON metrics(name) WHERE 0")
    rewrite_schema(folder, lambda name, text: sql if name == "metrics_by_name" else text)


def _shadowed(folder: Path) -> None:
    """Put a table of other numbers in the place of metrics, the true one beside it."""
    with closing(connected(folder)) as db:
        (sql,) = db.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'metrics'"
        ).fetchone()
        db.execute("ALTER TABLE metrics RENAME TO measured")
        db.execute(sql)
        db.execute("INSERT INTO metrics SELECT * FROM measured")
        db.execute("UPDATE metrics SET value = 1.0 WHERE id = 3")


def _roots_swapped(folder: Path) -> None:
    """Let two indices of one table stand for each other."""
    with closing(connected(folder)) as db:
        db.execute("PRAGMA writable_schema = ON")
        pair = "('notices_by_episode', 'notices_by_kind')"
        (one, two) = db.execute(
            f"SELECT name, rootpage FROM sqlite_master WHERE name IN {pair} ORDER BY name"
        ).fetchall()
        for name, root in ((one[0], two[1]), (two[0], one[1])):
            db.execute("UPDATE sqlite_master SET rootpage = ? WHERE name = ?", (root, name))


def alterations_of_schema(run: str) -> Iterator[Alteration]:
    """Yield changes of what is declared in a run.db."""

    def of(name: str, alter: Callable[[Path], None], *says: str) -> Alteration:
        return Alteration(f"schema: {name}", run, says, alter)

    for index in (
        "undo_by_stage",
        "episodes_in_order",
        "notices_by_episode",
        "notices_by_kind",
        "metrics_by_name",
        "signals_by_episode",
        "signals_by_versus_episode",
        "signals_by_question",
    ):
        yield of(f"index {index} dropped", execute(f"DROP INDEX {index}"), index)
    for trigger in ("signals_are_never_changed", "signals_are_never_removed"):
        yield of(f"trigger {trigger} dropped", execute(f"DROP TRIGGER {trigger}"), trigger)
        emptied = redefine(
            trigger, lambda sql: re.sub("SELECT RAISE.*?;", "SELECT 1;", sql)
        )
        yield of(f"trigger {trigger} does nothing", emptied, trigger)
    for view in (
        "seats",
        "utterances",
        "rewards",
        "grades",
        "judged",
        "planted",
        "queries",
        "events",
    ):
        yield of(f"view {view} dropped", execute(f"DROP VIEW {view}"), view)
        less = redefine(view, lambda sql: sql + " LIMIT 1")
        yield of(f"view {view} shows one row", less, view)
    lies = {
        "rewards": ("json_extract(r.value, '$[3]')", "2 * json_extract(r.value, '$[3]')"),
        "grades": ("json_extract(g.value, '$[4]')", "1 - json_extract(g.value, '$[4]')"),
        "judged": ("'$.verdict.score'", "'$.verdict.confidence'"),
        "utterances": ("json_extract(u.value, '$[2]')", "'I refuse.'"),
        "planted": (
            "json_extract(p.value, '$.good')",
            "NOT json_extract(p.value, '$.good')",
        ),
    }
    for view, (old, new) in lies.items():
        lie = redefine(view, lambda sql, old=old, new=new: sql.replace(old, new, 1))  # type: ignore[misc]
        yield of(f"view {view} lies", lie, view)
    table_for_view = execute(
        "CREATE TABLE kept AS SELECT * FROM rewards",
        "DROP VIEW rewards",
        "ALTER TABLE kept RENAME TO rewards",
    )
    yield of("view rewards is a table now", table_for_view, "rewards")
    yield of(
        "index on another column",
        redefine("metrics_by_name", lambda s: s.replace("(name)", "(stage)")),
        "metrics_by_name",
    )
    yield of(
        "unique index",
        redefine("undo_by_stage", lambda s: s.replace("(stage)", "(stage, id)")),
        "undo_by_stage",
    )
    yield of("index without entries", _empty_index, "metrics_by_name", "metrics")
    yield of("two indices swapped", _roots_swapped, "notices")
    yield of("table under the name of metrics", _shadowed, "metrics", "measured")
    yield of("index added", execute("CREATE INDEX mine ON episodes(task)"), "mine")
    yield of("table added", execute("CREATE TABLE mine (a)"), "mine")
    yield of("view added", execute("CREATE VIEW mine AS SELECT * FROM rewards"), "mine")
    yield of(
        "virtual table added", execute("CREATE VIRTUAL TABLE mine USING fts5(a)"), "mine"
    )
    trigger_sql = (
        "CREATE TRIGGER mine AFTER INSERT ON metrics BEGIN "
        "UPDATE metrics SET value = 1.0 WHERE id = new.id; END"
    )
    yield of("trigger added", execute(trigger_sql), "mine")
    yield of("column added", execute("ALTER TABLE metrics ADD COLUMN mine"), "metrics")
    yield of(
        "column renamed",
        execute("ALTER TABLE metrics RENAME COLUMN low TO lower_end"),
        "metrics",
    )
    yield of("column dropped", execute("ALTER TABLE metrics DROP COLUMN high"), "metrics")
    yield of("table renamed", execute("ALTER TABLE hazards RENAME TO risks"), "hazards")
    for table in (
        "hazards",
        "cells",
        "leases",
        "undo",
        "files",
        "row_hashes",
        "seals",
        "runs",
        "episodes",
    ):
        gone = execute(f"DROP TABLE {table}")
        yield of(f"table {table} dropped", gone, table, "no record of a run")
    yield of(
        "two columns swapped",
        rewrite("metrics", "low REAL, high REAL", "high REAL, low REAL"),
        "metrics",
    )
    yield of(
        "constraint lost",
        rewrite("metrics", "value REAL NOT NULL", "value REAL"),
        "metrics",
    )
    yield of("type changed", rewrite("metrics", "n INTEGER", "n TEXT"), "metrics")
    yield of("default changed", rewrite("agents", "DEFAULT ''", "DEFAULT 'x'"), "agents")
    yield of("comment in a table", rewrite("metrics", "(", "( /* x */ "), "metrics")
    for pragma in ("user_version", "application_id"):
        yield of(
            pragma,
            execute(f"PRAGMA {pragma} = 7"),
            pragma,
            "version",
            "no record",
            "run.db",
        )
