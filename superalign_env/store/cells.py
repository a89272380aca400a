"""Cells: one result of an experiment for one setting and one seed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from superalign_env.canonical import from_json, to_json
from superalign_env.store.database import Database, Row


class Cell(NamedTuple):
    """One cell of an experiment's table."""

    hash: str
    """Over experiment, parameters, seed and revision."""
    experiment: str
    params: dict[str, Any]
    seed: int
    revision: str
    status: str
    """``running``, ``done`` or ``failed``."""
    result: dict[str, Any]
    seconds: float = 0.0
    """Of the attempt that came to this status."""
    cost: Mapping[str, float] = {}
    """Unit → amount, of the same attempt: ``cpu-seconds``, ``tokens`` …"""
    code: str = ""
    """Hash of the code that computed it, beside the revision that a person raises."""
    error: str = ""
    """Trace of what went wrong, when it failed."""


_COLUMNS = ", ".join(Cell._fields)
_HOLDERS = ", ".join(f":{field}" for field in Cell._fields)
_JSON = ("params", "result", "cost")


class Cells:
    """The table of cells. Reached as ``run.cells``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, cell: Cell) -> None:
        """Write a cell, or replace the one with its hash."""
        row = cell._asdict()
        row |= {field: to_json(row[field]).decode() for field in _JSON}
        with self._database.transaction() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO cells({_COLUMNS}) VALUES ({_HOLDERS})", row
            )

    def get(self, name: str) -> Cell | None:
        """Return a cell by hash; None when it was never computed."""
        row = self._database.row(f"SELECT {_COLUMNS} FROM cells WHERE hash = ?", (name,))
        return None if row is None else _cell(row)

    def all(self, experiment: str | None = None) -> list[Cell]:
        """Return the cells, of one experiment or of all, in the order of their last change."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM cells ORDER BY rowid")
        return [cell for cell in map(_cell, rows) if experiment in (None, cell.experiment)]


def _cell(row: Row) -> Cell:
    read = dict(zip(Cell._fields, row, strict=True))
    return Cell(**read | {field: from_json(read[field], dict[str, Any]) for field in _JSON})
