"""Alterations of tables, views, indices and triggers."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from operator import methodcaller
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


def _of(run: str, name: str, alter: Callable[[Path], None], *says: str) -> Alteration:
    return Alteration(f"schema: {name}", run, says, alter)


def alterations_of_schema(run: str) -> Iterator[Alteration]:
    """Yield changes of what is declared in a run.db."""
    yield from _of_declarations(run)
    yield from _of_indices_and_tables(run)
    yield from _of_columns(run)


def _of_declarations(run: str) -> Iterator[Alteration]:
    """Yield indices, triggers and views that are missing or lie."""
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
        yield _of(run, f"index {index} dropped", execute(f"DROP INDEX {index}"), index)
    for trigger in ("signals_are_never_changed", "signals_are_never_removed"):
        yield _of(
            run, f"trigger {trigger} dropped", execute(f"DROP TRIGGER {trigger}"), trigger
        )
        emptied = redefine(
            trigger, lambda sql: re.sub("SELECT RAISE.*?;", "SELECT 1;", sql)
        )
        yield _of(run, f"trigger {trigger} does nothing", emptied, trigger)
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
        yield _of(run, f"view {view} dropped", execute(f"DROP VIEW {view}"), view)
        less = redefine(view, lambda sql: sql + " LIMIT 1")
        yield _of(run, f"view {view} shows one row", less, view)
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
        lie = redefine(view, methodcaller("replace", old, new, 1))
        yield _of(run, f"view {view} lies", lie, view)


def _of_indices_and_tables(run: str) -> Iterator[Alteration]:
    """Yield what stands for something else, and what was added."""
    table_for_view = execute(
        "CREATE TABLE kept AS SELECT * FROM rewards",
        "DROP VIEW rewards",
        "ALTER TABLE kept RENAME TO rewards",
    )
    yield _of(run, "view rewards is a table now", table_for_view, "rewards")
    yield _of(
        run,
        "index on another column",
        redefine("metrics_by_name", lambda s: s.replace("(name)", "(stage)")),
        "metrics_by_name",
    )
    yield _of(
        run,
        "unique index",
        redefine("undo_by_stage", lambda s: s.replace("(stage)", "(stage, id)")),
        "undo_by_stage",
    )
    yield _of(run, "index without entries", _empty_index, "metrics_by_name", "metrics")
    yield _of(run, "two indices swapped", _roots_swapped, "notices")
    yield _of(run, "table under the name of metrics", _shadowed, "metrics", "measured")
    yield _of(run, "index added", execute("CREATE INDEX mine ON episodes(task)"), "mine")
    yield _of(run, "table added", execute("CREATE TABLE mine (a)"), "mine")
    yield _of(
        run, "view added", execute("CREATE VIEW mine AS SELECT * FROM rewards"), "mine"
    )
    yield _of(
        run,
        "virtual table added",
        execute("CREATE VIRTUAL TABLE mine USING fts5(a)"),
        "mine",
    )
    trigger_sql = (
        "CREATE TRIGGER mine AFTER INSERT ON metrics BEGIN "
        "UPDATE metrics SET value = 1.0 WHERE id = new.id; END"
    )
    yield _of(run, "trigger added", execute(trigger_sql), "mine")
    yield _of(
        run, "column added", execute("ALTER TABLE metrics ADD COLUMN mine"), "metrics"
    )
    yield _of(
        run,
        "column renamed",
        execute("ALTER TABLE metrics RENAME COLUMN low TO lower_end"),
        "metrics",
    )


def _of_columns(run: str) -> Iterator[Alteration]:
    """Yield columns, constraints and marks that were altered."""
    yield _of(
        run, "column dropped", execute("ALTER TABLE metrics DROP COLUMN high"), "metrics"
    )
    yield _of(
        run, "table renamed", execute("ALTER TABLE hazards RENAME TO risks"), "hazards"
    )
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
        yield _of(run, f"table {table} dropped", gone, table, "no record of a run")
    yield _of(
        run,
        "two columns swapped",
        rewrite("metrics", "low REAL, high REAL", "high REAL, low REAL"),
        "metrics",
    )
    yield _of(
        run,
        "constraint lost",
        rewrite("metrics", "value REAL NOT NULL", "value REAL"),
        "metrics",
    )
    yield _of(run, "type changed", rewrite("metrics", "n INTEGER", "n TEXT"), "metrics")
    yield _of(
        run, "default changed", rewrite("agents", "DEFAULT ''", "DEFAULT 'x'"), "agents"
    )
    yield _of(run, "comment in a table", rewrite("metrics", "(", "( /* x */ "), "metrics")
    for pragma in ("user_version", "application_id"):
        yield _of(
            run,
            pragma,
            execute(f"PRAGMA {pragma} = 7"),
            pragma,
            "version",
            "no record",
            "run.db",
        )
