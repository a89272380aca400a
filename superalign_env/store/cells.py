"""Cells: one result of an experiment for one setting and one seed."""

from typing import Any, NamedTuple

from superalign_env.canonical import from_json, to_json
from superalign_env.store.database import Database, Row

_COLUMNS = "hash, experiment, params, seed, revision, status, result"


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


class Cells:
    """The table of cells. Reached as ``run.cells``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, cell: Cell) -> None:
        """Write a cell, or replace the one with its hash."""
        row = cell._asdict() | {
            "params": to_json(cell.params).decode(),
            "result": to_json(cell.result).decode(),
        }
        with self._database.transaction():
            self._database.tables.table("cells").upsert(row, pk="hash")

    def get(self, name: str) -> Cell | None:
        """Return a cell by hash; None when it was never computed."""
        row = self._database.row(f"SELECT {_COLUMNS} FROM cells WHERE hash = ?", (name,))
        return None if row is None else _cell(row)

    def all(self, experiment: str | None = None) -> list[Cell]:
        """Return the cells, of one experiment or of all."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM cells ORDER BY rowid")
        return [cell for cell in map(_cell, rows) if experiment in (None, cell.experiment)]


def _cell(row: Row) -> Cell:
    name, experiment, params, seed, revision, status, result = row
    read = [from_json(text, dict[str, Any]) for text in (params, result)]
    return Cell(name, experiment, read[0], seed, revision, status, read[1])
