"""Alterations of runs that a killed process left, with changes that no seal counts yet."""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from altered_bytes import rolled_back
from altered_rows import Alteration, connected, edit

from superalign_env.store import Run

KEYS = {
    "episodes": "id",
    "metrics": "id",
    "notices": "id",
    "runs": "id",
    "files": "path",
    "agents": "number",
    "annotators": "number",
    "cells": "number",
    "hazards": "number",
    "metric_kinds": "number",
    "questions": "number",
    "stages": "number",
}
"""Table whose rows outlive a stage, or belong to none → its key."""

ELSEWHERE = {"episodes": "record", "files": "hash", "metrics": "tags", "notices": "kind"}
"""Table → a column that an older copy has otherwise; of the others the one after the key."""

SMALLEST, LARGEST = -(1 << 63), (1 << 63) - 1


def _without(folder: Path, table: str, older: str = "") -> None:
    """Delete a row that the last seal counts, and its hash; put those of an older copy there."""
    hashed = f"row_hashes WHERE stage = '' AND \"table\" = '{table}' AND \"key\" = ?"
    row = f'"{table}" WHERE CAST("{KEYS[table]}" AS TEXT) = ?'
    with closing(connected(folder)) as db:
        db.execute("ATTACH ? AS older", (older,))
        key = db.execute(
            f'SELECT "key" FROM row_hashes WHERE sealed AND "table" = \'{table}\''
        ).fetchone()
        for what in (hashed, row):
            name, where = what.split(maxsplit=1)
            gone = db.execute(f"DELETE FROM {what}", key).rowcount
            if older:
                db.execute(f"INSERT INTO {name} SELECT * FROM older.{name} {where}", key)
            if gone != 1:
                raise ValueError(f"{gone} rows of {what}")


def _of_an_older_copy(folder: Path, table: str) -> None:
    """Put a row of an older copy of the run, and its hash, in the place of a sealed one."""
    with tempfile.TemporaryDirectory() as place:
        older = Path(place) / "older"
        shutil.copytree(folder, older)
        with Run.open(older) as run:
            columns = [
                name for _, name, *_ in run.database.rows(f'PRAGMA table_info("{table}")')
            ]
            after = columns[columns.index(KEYS[table]) + 1]
            column = ELSEWHERE.get(table, after)
            extra = " || rowid" if "UNIQUE" in _sql(run, table) else ""
            run.database.write(f'UPDATE "{table}" SET "{column}" = ?{extra}', [("x",)])
        _without(folder, table, str(older / "run.db"))


def _sql(run: Run, table: str) -> str:
    return str(run.database.value("SELECT sql FROM sqlite_master WHERE name = ?", (table,)))


def _numbered(folder: Path, table: str, number: int) -> None:
    """Add a row under an unusual number."""
    with closing(connected(folder)) as db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute(f'SELECT * FROM "{table}" LIMIT 1').fetchone())
        key = KEYS[table]
        row[key] = number if isinstance(row[key], int) else str(number)
        row |= {name: "new" for name in ("hash",) if table == "agents"}
        marks = ", ".join(f":{name}" for name in row)
        db.execute(f'INSERT INTO "{table}" VALUES ({marks})', row)
        db.execute(f'UPDATE "{table}" SET rowid = ? WHERE "{key}" = ?', (number, row[key]))


def alterations_of_left(run: str) -> Iterator[Alteration]:
    """Yield changes of what the last seal counts, in a run with later changes."""

    def of(name: str, alter: Callable[[Path], object], *says: str) -> Alteration:
        return Alteration(f"left: {name}", run, says, alter)

    for table in KEYS:
        says = (table, "row of the run") if table == "runs" else (table,)
        yield of(
            f"sealed row of {table}, and its hash deleted",
            partial(_without, table=table),
            *says,
        )
        if table != "runs":
            yield of(
                f"sealed row of {table} from an older copy",
                partial(_of_an_older_copy, table=table),
                table,
                table[:-1],
            )
    for table in ("episodes", "metrics", "agents"):
        for number in (SMALLEST, -1, LARGEST):
            yield of(
                f"row {number} of {table} added",
                partial(_numbered, table=table, number=number),
                table,
                str(number),
            )
    yield from _of_marks(of)
    yield of("altered rows in a rollback journal", rolled_back, "metrics", "run.db")


def _of_marks(of: Callable[..., Alteration]) -> Iterator[Alteration]:
    """Yield changes of what tells sealed rows from later ones."""
    for name, where in (
        ("sealed", "WHERE sealed"),
        ("later", "WHERE NOT sealed AND stage = '' AND \"table\" = 'hazards'"),
        ("chained", "WHERE NOT sealed AND \"table\" = 'signals'"),
    ):
        yield of(
            f"marks of {name} rows turned round",
            edit(f"UPDATE row_hashes SET sealed = NOT sealed {where}"),
            "seal",
        )
    hashed = "DELETE FROM row_hashes WHERE \"table\" = 'superseded'"
    yield of("superseded hashes deleted", edit("DELETE FROM superseded", hashed), "seal")
    taken = 'SELECT "table", "key", hash FROM row_hashes WHERE sealed AND "table" = \'agents\' LIMIT 1'
    yield of(
        "sealed agent said to be superseded",
        edit(
            f"INSERT INTO superseded {taken}",
            'DELETE FROM agents WHERE CAST(number AS TEXT) = (SELECT "key" FROM superseded WHERE "table" = \'agents\' ORDER BY rowid DESC LIMIT 1)',
            'DELETE FROM row_hashes WHERE "table" = \'agents\' AND "key" = (SELECT "key" FROM superseded WHERE "table" = \'agents\' ORDER BY rowid DESC LIMIT 1)',
        ),
        "superseded",
        "agents",
    )
