"""Hashes of all rows, by which alterations by other programs are found.

Triggers of our own connections write the hash of a row into the table ``row_hashes``, with
the row: whatever writes through this package is covered, and an edit by anybody else is not.
A hash that a seal counts moves to ``superseded`` when its row is changed or removed, until the
next seal: so what is sealed can be told from what came later, row by row.
"""

import sqlite3
from typing import Any, NamedTuple

import msgspec
from xxhash import xxh3_128_hexdigest

ROW_HASHES = "row_hashes"
SUPERSEDED = "superseded"

_pack = msgspec.msgpack.Encoder().encode


class Table(NamedTuple):
    """A table whose rows have hashes."""

    name: str
    columns: tuple[str, ...]
    """In order; all of them."""
    key: tuple[str, ...]
    """Columns of the primary key."""

    def group(self, row: str = "t") -> str:
        """Return SQL for the stage of a row; empty for rows of no stage."""
        staged = "stage" in self.columns
        return f"coalesce({row}.stage, '')" if staged else "''"

    def name_of(self, row: str = "t") -> str:
        """Return SQL for the key of a row, as a text."""
        parts = [f"coalesce(CAST({row}.\"{c}\" AS TEXT), '')" for c in self.key]
        return " || ':' || ".join(parts)

    def values(self, row: str = "t") -> str:
        """Return SQL for all columns of a row."""
        return ", ".join(f'{row}."{column}"' for column in self.columns)

    def hash_of(self, row: str) -> str:
        """Return SQL for the hash of a row; an episode carries its own."""
        return f"{row}.hash" if self.name == "episodes" else f"row_hash({self.values(row)})"


def row_hash(*values: Any) -> str:
    """Return 32 hex digits over the columns of a row (XXH3 of MessagePack).

    Not a cryptographic hash: whoever alters a record on purpose can hash it anew.

    Raises:
        ValueError: a text is not valid UTF-8.
    """
    return xxh3_128_hexdigest(_pack(values))


def hashed_tables(connection: sqlite3.Connection) -> list[Table]:
    """Return the tables whose rows have hashes, by name; none before the schema is there."""
    names = [
        str(name)
        for (name,) in connection.execute(
            "SELECT name FROM main.sqlite_master WHERE type = 'table' "
            "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        )
    ]
    if ROW_HASHES not in names:
        return []
    return [_table(connection, name) for name in names if name != ROW_HASHES]


def _table(connection: sqlite3.Connection, name: str) -> Table:
    quoted = name.replace('"', '""')
    columns = connection.execute(f'PRAGMA main.table_info("{quoted}")').fetchall()
    keys = sorted((column[5], str(column[1])) for column in columns if column[5])
    key = tuple(column for _, column in keys) or ("rowid",)
    return Table(name, tuple(str(column[1]) for column in columns), key)


def hash_rows(connection: sqlite3.Connection) -> bool:
    """Hash every row that this connection writes from now on.

    Returns:
        Whether the tables are there yet.
    """
    tables = hashed_tables(connection)
    if tables:
        connection.create_function("row_hash", -1, row_hash, deterministic=True)
    for table in tables:
        new, old = _insert(table), _delete(table)
        for event, body in (
            ("INSERT", new),
            ("DELETE", old),
            ("UPDATE", f"{old} {new}"),
        ):
            if (table.name, event) == ("episodes", "INSERT"):
                continue  # by `EpisodeWriter`, in half the time
            connection.execute(
                f'CREATE TEMP TRIGGER IF NOT EXISTS "hash_{event}_{table.name}" '
                f'AFTER {event} ON main."{table.name}" BEGIN {body} END'
            )
    return bool(tables)


EPISODES = f"INSERT OR REPLACE INTO {ROW_HASHES} VALUES (?,?,?,?,0)"
"""Writes the hashes of episodes: stage, ``episodes``, id, hash."""


def _insert(table: Table) -> str:
    values = f"{table.group('new')}, '{table.name}', {table.name_of('new')}"
    return (
        f"INSERT OR REPLACE INTO {ROW_HASHES} VALUES ({values}, {table.hash_of('new')}, 0);"
    )


def _delete(table: Table) -> str:
    of_the_row = (
        f"FROM {ROW_HASHES} WHERE stage = {table.group('old')} "
        f'AND "table" = \'{table.name}\' AND "key" = {table.name_of("old")}'
    )
    return (
        f'INSERT OR IGNORE INTO {SUPERSEDED} SELECT "table", "key", hash {of_the_row} '
        f"AND sealed; DELETE {of_the_row};"
    )
