"""Alterations of rows: each kind of change, in every table and column of a run.db."""

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from altered_values import NULL, VALUES


class Alteration(NamedTuple):
    """One change of a finished run."""

    name: str
    run: str
    says: tuple[str, ...]
    """What `validate` has to name; one of them is enough."""
    alter: Callable[[Path], object]


class NothingChanged(Exception):
    """The change left every row as it was: it is no alteration."""


_CONSTRAINTS = re.compile(r"\bNOT NULL\b|REFERENCES \w+\(\w+\)|\bTEXT\b|\bREAL\b|\bBLOB\b")
_INTEGER = re.compile(r"\bINTEGER\b(?! PRIMARY KEY)")


def connected(folder: Path) -> sqlite3.Connection:
    """Return a connection that commits at once."""
    connection = sqlite3.connect(folder / "run.db", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    return connection


def contents(folder: Path, table: str = "%") -> list[Any]:
    """Return every row of every table, or of one, with its types."""
    with closing(connected(folder)) as db:
        named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE ?"
        tables = [name for (name,) in db.execute(named, (table,))]
        kept: list[Any] = []
        for name in tables:
            with contextlib.suppress(sqlite3.Error):
                kept.append(
                    [name, sorted(map(repr, db.execute(f'SELECT * FROM "{name}"')))]
                )
        return kept


def rewrite_schema(folder: Path, change: Callable[[str, str], str]) -> None:
    """Change the texts of the schema, of (name, sql), behind SQLite's back."""
    with closing(connected(folder)) as db:
        db.execute("PRAGMA writable_schema = ON")
        found = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql NOT NULL"
        ).fetchall()
        for name, sql in found:
            if (changed := change(name, sql)) != sql:
                db.execute(
                    "UPDATE sqlite_master SET sql = ? WHERE name = ?", (changed, name)
                )
        (cookie,) = db.execute("PRAGMA schema_version").fetchone()
        db.execute(f"PRAGMA schema_version = {cookie + 1}")


@contextmanager
def loosened(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open run.db without triggers, types and constraints; leave them as they were."""
    with closing(connected(folder)) as db:
        kept = dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL"))
        triggers = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
    rewrite_schema(
        folder,
        lambda _, sql: (
            _INTEGER.sub("", _CONSTRAINTS.sub("", sql))
            if sql.startswith("CREATE TABLE")
            else sql
        ),
    )
    with closing(connected(folder)) as db:
        yield db
    rewrite_schema(folder, lambda name, _: kept[name])
    with closing(connected(folder)) as db:
        for _, sql in triggers:
            db.execute(sql)


def edit(*statements: str) -> Callable[[Path], None]:
    """Return the change that runs statements of SQL."""

    def alter(folder: Path) -> None:
        before = contents(folder)
        with loosened(folder) as db:
            for statement in statements:
                db.execute(statement)
        if contents(folder) == before:
            raise NothingChanged(statements)

    return alter


# --- values: each returns None where it has nothing to change --------------------------


def _key(table: str, db: sqlite3.Connection) -> str:
    """Return the columns of a table's primary key, for an ORDER BY."""
    rows = db.execute(
        f'SELECT name, pk FROM pragma_table_info("{table}") WHERE pk ORDER BY pk'
    )
    return ", ".join(f'"{name}"' for name, _ in rows)


def _where(row: Sequence[Any], columns: Sequence[str]) -> tuple[str, list[Any]]:
    return " AND ".join(f'"{column}" IS ?' for column in columns), list(row)


def change_value(
    folder: Path, table: str, column: str, change: Callable[[Any], Any]
) -> None:
    """Change one value: of the row in the middle of those that it can change."""
    before = contents(folder, table)
    with loosened(folder) as db:
        columns = [name for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')]
        at = columns.index(column)
        rows = db.execute(f'SELECT * FROM "{table}" ORDER BY {_key(table, db)}').fetchall()
        able = [row for row in rows if change(row[at]) is not None]
        if able:
            row = able[len(able) // 2]
            value = change(row[at])
            where, key = _where(row, columns)
            with contextlib.suppress(sqlite3.IntegrityError):  # of an INTEGER PRIMARY KEY
                db.execute(
                    f'UPDATE OR REPLACE "{table}" SET "{column}" = ? WHERE {where}',
                    [None if value is NULL else value, *key],
                )
    if not able or contents(folder, table) == before:
        raise NothingChanged


def swap_values(folder: Path, table: str, column: str) -> None:
    """Swap the values of two rows."""
    before = contents(folder, table)
    with loosened(folder) as db:
        columns = [name for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')]
        at = columns.index(column)
        rows = db.execute(f'SELECT * FROM "{table}" ORDER BY {_key(table, db)}').fetchall()
        other = next((row for row in rows if row[at] != rows[0][at]), None)
        if other is None:
            raise NothingChanged
        (one, first), (two, second) = _where(rows[0], columns), _where(other, columns)
        between = -999_999  # whole, for an INTEGER PRIMARY KEY
        set_to = f'UPDATE OR REPLACE "{table}" SET "{column}" = ? WHERE '
        db.execute(set_to + one, [between, *first])
        db.execute(set_to + two, [rows[0][at], *second])
        first[at] = between
        db.execute(set_to + one, [other[at], *first])
    if contents(folder, table) == before:
        raise NothingChanged


def add_row(folder: Path, table: str, *, invented: bool) -> None:
    """Add a copy of a row under a new key, or with every value invented."""
    with loosened(folder) as db:
        info = db.execute(f'PRAGMA table_info("{table}")').fetchall()
        columns = [name for _, name, *_ in info]
        row = list(db.execute(f'SELECT * FROM "{table}" LIMIT 1').fetchone())
        unique = {
            name
            for _, index, is_unique, *_ in db.execute(f'PRAGMA index_list("{table}")')
            if is_unique
            for _, _, name in db.execute(f'PRAGMA index_info("{index}")')
        } | {name for _, name, _, _, _, pk in info if pk}
        for n, name in enumerate(columns):
            if name in unique or invented:
                number = isinstance(row[n], int | float)
                row[n] = 999_999 if number else b"x" if isinstance(row[n], bytes) else "new"
        marks = ", ".join("?" * len(row))
        db.execute(f'INSERT INTO "{table}" VALUES ({marks})', row)


def delete_row(folder: Path, table: str, place: float) -> None:
    """Delete the row at a place between 0 and 1, in the order of keys."""
    with loosened(folder) as db:
        columns = [name for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')]
        rows = db.execute(f'SELECT * FROM "{table}" ORDER BY {_key(table, db)}').fetchall()
        where, key = _where(rows[round(place * (len(rows) - 1))], columns)
        db.execute(f'DELETE FROM "{table}" WHERE {where}', key)


def delete_with_hash(folder: Path, table: str) -> None:
    """Delete the last row and the row of `row_hashes` that says that there was one."""
    if table in ("row_hashes", "leases"):  # a lease given back is no alteration
        raise NothingChanged
    with loosened(folder) as db:
        columns = [name for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')]
        keys = [name.strip('"') for name in _key(table, db).split(", ")]
        row = db.execute(f'SELECT * FROM "{table}" ORDER BY {_key(table, db)}').fetchall()[
            -1
        ]
        where, values = _where(row, columns)
        db.execute(f'DELETE FROM "{table}" WHERE {where}', values)
        key = ":".join(str(row[columns.index(name)]) for name in keys)
        gone = db.execute(
            'DELETE FROM row_hashes WHERE "table" = ? AND key = ?', (table, key)
        ).rowcount
    if gone != 1:
        raise ValueError(f"{table}: {gone} hashes of {key}")


SAYS = {
    "seatings": ("seatings", "who sat where"),
    "row_hashes": ("row_hashes", "row ", "rows ", "episode "),
}
"""Table → what has to be named. A hash that was altered may as well be its row's fault."""


def alterations_of_rows(run: str, folder: Path, *, quick: bool) -> Iterator[Alteration]:
    """Yield every kind of change of every table and column that has rows."""
    with closing(connected(folder)) as db:
        tables = [
            (table, [name for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')])
            for (table,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            )
            if db.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        ]
    for table, columns in tables:
        named = partial(
            Alteration, run=run, says=SAYS.get(table, (table, table[:-1] + " "))
        )
        yield named(
            f"{table}: first row deleted", alter=partial(delete_row, table=table, place=0)
        )
        for place in () if quick else (0.5, 1):
            yield named(
                f"{table}: row at {place} deleted",
                alter=partial(delete_row, table=table, place=place),
            )
        yield named(
            f"{table}: row and its hash deleted",
            alter=partial(delete_with_hash, table=table),
        )
        yield named(f"{table}: all rows deleted", alter=edit(f'DELETE FROM "{table}"'))
        if "stage" in columns:
            one = f"(SELECT stage FROM \"{table}\" WHERE stage > '' ORDER BY stage LIMIT 1)"
            yield named(
                f"{table}: rows of one stage deleted",
                alter=edit(f'DELETE FROM "{table}" WHERE stage = {one}'),
            )
        for invented in (False, True):
            yield named(
                f"{table}: row {'invented' if invented else 'copied'}",
                alter=partial(add_row, table=table, invented=invented),
            )
        yield from _of_columns(named, table, columns, quick=quick)


def _of_columns(
    named: Callable[..., Alteration], table: str, columns: Sequence[str], *, quick: bool
) -> Iterator[Alteration]:
    kinds = list(VALUES.items())
    for n, column in enumerate(columns):
        for kind, change in kinds[:1] if quick else kinds:
            yield named(
                f"{table}.{column}: {kind}",
                alter=partial(change_value, table=table, column=column, change=change),
            )
        if n == len(columns) // 2 or not quick:
            yield named(
                f"{table}.{column}: swapped between two rows",
                alter=partial(swap_values, table=table, column=column),
            )
