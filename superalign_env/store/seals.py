"""Seals: hashes of rows, files and stages, by which later alterations are found.

Every row of every table has its hash in the table ``row_hashes``. Triggers of our own
connections write it with the row, so that whatever writes through this package is covered,
and an edit by any other program is not. At the end of a stage, and when a run is closed, a
row of ``seals`` sums up what was written and names the seal before it. What a seal counts
must stay until the next one, but for what this package itself changes or takes back: see
`row_hashes`. The next one says if something did not.

An editor who also writes new hashes is not found by them: that is what `digest` is for.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.canonical import content_hash, from_json, to_json
from superalign_env.store.database import Database, Row
from superalign_env.store.files import file_hash, unhashed_files
from superalign_env.store.row_hashes import ROW_HASHES, SUPERSEDED, row_hash

CHECKPOINTS = "checkpoints"

_MEASURED = ("episodes", "metrics", "notices")

OF_STAGES = (*_MEASURED, "undo")
"""Tables whose rows belong to a stage, and are sealed with it."""

OF_THE_RUN = (
    *_MEASURED,  # what was written outside of all stages
    "agents",
    "annotators",
    "cells",
    "files",
    "hazards",
    "metric_kinds",
    "questions",
    "runs",
    "stages",
)
"""Tables of which a seal says how they stood."""

LAST = "last"
"""Key in ``row_hashes`` of the hash of the newest seal."""

OF_AN_END = ("runs", "stages")
"""Tables that must stand as the last seal says in a run that is done."""

_FACTS = "id, generation, round, name, status, inputs, outputs, rng, signals_to"
"""Columns of a stage that its seal covers: a fork keeps them, and gets another run."""


class Seal(NamedTuple):
    """What was written up to a moment, chained to the seal before it."""

    id: int
    stage: str
    """That ended; empty where a run was closed."""
    contents: dict[str, Any]
    """``facts`` of the stage; ``tables`` and ``run``: table → [rows, hash] of rows of the
    stage and of those of no stage; ``signals``: [last id, its hash]; ``lost``: tables in which
    something that the seal before counts was missing, or was another."""
    previous: str
    hash: str
    """Over all of this."""


_COLUMNS = ", ".join(Seal._fields)


def seal_hash(stage: str, contents: str, previous: str) -> str:
    """Return the hash that a seal bears; `contents` is its JSON."""
    return content_hash([stage, contents, previous])


class Seals:
    """The chain of seals. Reached as ``run.seals``.

    Args:
        database: of the run.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, stage: str = "", *, lost: Sequence[str] | None = None) -> None:
        """Seal a stage, within the transaction that ends it, or how a run stands.

        A run that stands as its last seal says is not sealed again.

        Args:
            stage: that has ended; none where the run as a whole is sealed.
            lost: see `lost`, where the last seal is not the one before this one any more.
        """
        with self._database.transaction() as connection:
            row = self._last()
            said = self.contents(stage, lost=self.lost() if lost is None else lost)
            contents = to_json(said).decode()
            if not stage and row is not None and _stands(row, contents):
                return
            previous = row[-1] if row else ""
            mark = seal_hash(stage, contents, previous)
            connection.execute(
                "INSERT INTO seals(stage, contents, previous, hash) VALUES (?,?,?,?)",
                (stage, contents, previous, mark),
            )
            connection.execute(
                f"INSERT OR REPLACE INTO {ROW_HASHES} VALUES ('', 'seals', '{LAST}', ?, 0)",
                (mark,),
            )
            connection.execute(_MARK, OF_THE_RUN)
            connection.execute(f"DELETE FROM {SUPERSEDED}")

    def lost(self) -> list[str]:
        """Return the tables in which something that the last seal counts is missing or other.

        What this package changed or took back since then is not lost.
        """
        row = self._last()
        if row is None:
            return []
        try:
            said = from_json(row[2], dict[str, Any])
            then, (signal, mark) = said["run"], said["signals"]
        except (ValueError, TypeError, KeyError):  # told by `validate`
            return ["seals"]
        lost = [
            table for table in OF_THE_RUN if then.get(table, _EMPTY) != self._sealed(table)
        ]
        return lost + (["signals"] if self._signal_hash(signal) != mark else [])

    def ever_lost(self) -> list[str]:
        """Return `lost`, together with what earlier seals say was lost before them."""
        lost = {*self.lost()}
        for seal in self.all():
            lost |= {*seal.contents.get("lost", ())}
        return sorted(lost)

    def close(self) -> None:
        """Seal what was written beside stages; not while one runs, whose end will do it."""
        busy = "SELECT 1 FROM stages WHERE status = 'running'"
        with self._database.transaction():
            if not self._database.rows(busy):
                self.add()

    def all(self) -> list[Seal]:
        """Return all seals in order.

        Raises:
            ValueError: one of them cannot be read.
        """
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM seals ORDER BY id")
        return [_seal(row) for row in rows]

    def since_last(self) -> list[str]:
        """Return what was written beside stages since the last seal, in words."""
        row = self._last()
        now = self.contents("")
        said = from_json(row[2], dict[str, Any]) if row else {}
        then = said.get("run", {})
        changes = [
            _more(table, then.get(table, _EMPTY), now["run"].get(table, _EMPTY))
            for table in sorted({*OF_THE_RUN} - {*OF_AN_END})
            if then.get(table) != now["run"].get(table)
        ]
        signals = now["signals"][0] - said.get("signals", [0])[0]
        return [*changes, f"{signals} signals"] if signals else changes

    def contents(self, stage: str, *, lost: Sequence[str] = ()) -> dict[str, Any]:
        """Return what a seal would say now."""
        last = self._database.value("SELECT max(id) FROM signals") or 0
        said: dict[str, Any] = {
            "run": self.sums("", OF_THE_RUN),
            "signals": [last, self._signal_hash(last)],
        }
        if stage:
            said["tables"] = self.sums(stage, OF_STAGES)
            said["facts"] = self.facts(stage)
        return said | ({"lost": [*lost]} if lost else {})

    def sums(self, stage: str, tables: Iterable[str]) -> dict[str, list[Any]]:
        """Return table → [number of rows, hash over their keys and hashes]; no empty ones."""
        return {table: found for table in tables if (found := self._sum(stage, table))[0]}

    def facts(self, stage: str) -> str:
        """Return the hash of a stage's own columns."""
        row = self._database.row(f"SELECT {_FACTS} FROM stages WHERE id = ?", (stage,))
        return row_hash(*(row or ()))

    def _sum(self, stage: str, table: str) -> list[Any]:
        rows = self._database.rows(
            f'SELECT "key", hash FROM {ROW_HASHES} WHERE stage = ? AND "table" = ? '
            'ORDER BY "key"',
            (stage, table),
        )
        return [len(rows), sum_of(rows)]

    def _sealed(self, table: str) -> list[Any]:
        """Return the sum of what the last seal counted in a table, as far as it is there."""
        rows = self._database.rows(_SEALED, {"table": table})
        return [len(rows), sum_of(rows)] if rows else _EMPTY

    def _signal_hash(self, number: int) -> str:
        mark = self._database.value(
            f"SELECT hash FROM {ROW_HASHES} WHERE stage = '' AND \"table\" = 'signals' "
            'AND "key" = ?',
            (str(number),),
        )
        return mark or ""

    def _last(self) -> Row | None:
        return self._database.row(f"SELECT {_COLUMNS} FROM seals ORDER BY id DESC LIMIT 1")


_EMPTY = [0, ""]
"""Sum of a table without rows."""

_MARK = (
    f"UPDATE {ROW_HASHES} SET sealed = 1 WHERE stage = '' AND NOT sealed "
    f'AND "table" IN ({",".join("?" * len(OF_THE_RUN))})'
)

_SEALED = f"""
SELECT "key", hash FROM {ROW_HASHES} WHERE stage = '' AND "table" = :table AND sealed = 1
UNION ALL SELECT "key", hash FROM {SUPERSEDED} WHERE "table" = :table ORDER BY 1
"""


def sum_of(rows: Iterable[Sequence[Any]]) -> str:
    """Return the hash over (key, hash) of rows, in their order."""
    text = "".join([f"{key} {mark}\n" for key, mark in rows])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _stands(row: Row, contents: str) -> bool:
    """Return whether a run still stands as a seal of it says."""
    try:
        said, now = (from_json(text, dict[str, Any]) for text in (row[2], contents))
    except (ValueError, TypeError):
        return False
    return all(said.get(part) == now[part] for part in now)


def _more(table: str, then: Sequence[Any], now: Sequence[Any]) -> str:
    more = now[0] - then[0]
    return f"{more} {table}" if more > 0 else f"changes in {table}"


def _seal(row: Row) -> Seal:
    number, stage, contents, previous, mark = row
    return Seal(number, stage, from_json(contents, dict[str, Any]), previous, mark)


_KEEP = (
    "INSERT INTO files(path, hash) VALUES (?,?) "
    "ON CONFLICT(path) DO UPDATE SET hash = excluded.hash"
)


class Files:
    """The table of files that a run wrote beside its record. Reached as ``run.files``.

    Checkpoints and memories are not in it: the stages that left them name their hashes.

    Args:
        database: of the run.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, *names: str) -> None:
        """Record the hashes of files as they are now.

        Args:
            *names: relative to the run's folder.
        """
        self._database.write(_KEEP, [(name, self.hash_of(name)) for name in names])

    def hash_of(self, name: str) -> str:
        """Return the hash of a file as it is now."""
        return file_hash(self._database.path.parent / name)

    def keep_named(self, outputs: Mapping[str, Any]) -> None:
        """Record files that a stage or agents name without a hash; known ones stay as they are.

        Args:
            outputs: what the stage leaves.
        """
        known = self.all()
        folders = {name.rpartition("/")[0] for name in known}
        agents = self._database.rows("SELECT path FROM agents WHERE path != ''")
        new = [path for (path,) in agents if path not in known and path not in folders]
        names = unhashed_files(self._database.path.parent, outputs, new)
        self.keep(*(name for name in names if name not in known))

    def forget(self, names: Iterable[str]) -> None:
        """Forget files that are no longer of the run."""
        self._database.write(
            "DELETE FROM files WHERE path = ?", [(name,) for name in names]
        )

    def all(self) -> dict[str, str]:
        """Return path → hash."""
        return dict(self._database.rows("SELECT path, hash FROM files ORDER BY path"))
