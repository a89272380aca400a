"""Old records: the rows of an episode in four tables become columns of its own row.

A part of a released migration: it is never edited. Nothing is read as an episode here, so
that what was altered or damaged stays exactly so, and the seals of old records still hold.
"""

import hashlib
import sqlite3
from collections import defaultdict
from itertools import groupby
from typing import Any

import msgspec

_SEATS = "seats", "seat, role, agent"
_UTTERANCES = "utterances", "turn, seat, text, policy, prompt_ids, token_ids, logprobs"
_REWARDS = "rewards", "turn, seat, part, value"
_GRADES = "grades", "turn, seat, axis, name, value"

_INTO_ROW = (
    "UPDATE episodes SET seating = ?, paid = ?, graded = ?, said = ?, numbers = ? "
    "WHERE id = ?"
)
_SEATING = (
    "INSERT OR IGNORE INTO seatings(hash, place, seat, role, agent) VALUES (?,?,?,?,?)"
)

_CHUNK = 256

_encode = msgspec.json.Encoder().encode

Row = tuple[Any, ...]


def gather(connection: sqlite3.Connection) -> None:
    """Fill the new columns of all episodes from the four tables; within a transaction."""
    names = [name for (name,) in connection.execute("SELECT id FROM episodes ORDER BY id")]
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        seats, said, paid, graded = (
            _rows(connection, *table, chunk)
            for table in (_SEATS, _UTTERANCES, _REWARDS, _GRADES)
        )
        for name in chunk:
            seating = hashlib.blake2b(_encode(seats[name]), digest_size=16).hexdigest()
            connection.executemany(
                _SEATING, [(seating, i, *seat) for i, seat in enumerate(seats[name])]
            )
            lines, numbers = _lines(said[name])
            columns = [_json(rows) for rows in (paid[name], graded[name], lines)]
            connection.execute(_INTO_ROW, (seating, *columns, numbers, name))


def _rows(
    connection: sqlite3.Connection, table: str, columns: str, names: list[str]
) -> dict[str, list[Row]]:
    """Return the rows of some episodes, in the order of writing."""
    marks = ",".join("?" * len(names))
    found = connection.execute(
        f"SELECT episode, {columns} FROM {table} WHERE episode IN ({marks}) "
        "ORDER BY episode, rowid",
        names,
    )
    rows: dict[str, list[Row]] = defaultdict(list)
    for name, group in groupby(found, key=lambda row: row[0]):
        rows[name] = [row[1:] for row in group]
    return rows


def _lines(said: list[Row]) -> tuple[list[Row], bytes]:
    """Return lines without their numbers, and the numbers of all."""
    lines: list[Row] = []
    numbers = b""
    for *plain, prompt_ids, token_ids, logprobs in said:
        blobs = [_bytes(blob) for blob in (prompt_ids, token_ids, logprobs)]
        sizes = [None if blob is None else len(blob) for blob in blobs]
        lines.append((*plain, len(numbers), *sizes))
        numbers += b"".join([blob for blob in blobs if blob])
    return lines, numbers


def _bytes(blob: object) -> bytes | None:
    """Return the bytes of a blob; of something else, put there by hand, its text."""
    return blob if blob is None or isinstance(blob, bytes) else str(blob).encode()


def _json(rows: list[Row]) -> str:
    return _encode(rows).decode()
