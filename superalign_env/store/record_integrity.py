"""Integrity of the rows of a record, beside their hashes and seals."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from superalign_env.canonical import text_hash
from superalign_env.errors import RecordError
from superalign_env.store.database import Row
from superalign_env.store.file_integrity import Problem, listed
from superalign_env.store.row_hashes import ROW_HASHES, Table, hashed_tables, row_hash
from superalign_env.store.run import Run
from superalign_env.store.seals import (
    LAST,
    OF_AN_END,
    OF_STAGES,
    OF_THE_RUN,
    seal_hash,
)
from superalign_env.store.serialization import (
    EpisodeRow,
    episode_hash,
    require_readable,
    seating_hash,
)

_READ = 256
"""Episodes in memory at a time."""

COPY = "restore run.db from a copy of the run"

_KINDS = {"episodes": "episode", "stages": "stage", "seals": "seal"}
"""Table → kind of its problems; else its own name."""


_ODDLY_MARKED = (
    f"SELECT \"key\" FROM {ROW_HASHES} WHERE typeof(sealed) != 'integer' "
    "OR sealed NOT IN (0, 1) OR (sealed AND (stage != '' OR "
    f'"table" NOT IN ({", ".join("?" * len(OF_THE_RUN))})))'
)


class Record:
    """The rows of a record, beside their hashes and seals."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tables = {
            table.name: table for table in hashed_tables(run.database.connection)
        }
        self.altered: set[str] = set()
        """Tables in which something is missing, or was added or altered."""

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return rows, with surrogates in texts that are no UTF-8."""
        database = self._run.database
        try:
            return database.rows(sql, parameters)
        except RecordError:
            with database.lossless():
                return database.rows(sql, parameters)

    def references(self) -> Iterator[Problem]:
        """Yield what points at nothing."""
        found = self._rows("PRAGMA foreign_key_check")
        found.sort(key=lambda row: (str(row[0]), str(row[2])))
        for (table, target), rows in groupby(found, key=lambda row: (row[0], row[2])):
            numbers = [str(row[1]) for row in rows]
            verb = "points" if len(numbers) == 1 else "point"
            what = f"{_rows_of(table, numbers)} {verb} at nothing in {target}"
            yield Problem("reference", what, COPY)

    def episodes(self) -> Iterator[Problem]:
        """Yield what is wrong with episodes and what they share."""
        seatings, broken = self._shared()
        if broken:
            what = f"{listed(broken)} of episodes: altered after it was written"
            yield Problem("episode", what, COPY)
        changes = _Changes(self._tables["episodes"])
        for row, stage, mark in self._episode_rows():
            if mark is None:
                changes.added.append((stage, str(row.id)))
            if not _good(_is_episode, row) or mark not in (None, row.hash):
                changes.altered.append((stage, str(row.id)))
                continue
            try:
                require_readable(row)
            except (ValueError, TypeError, msgspec.MsgspecError) as error:
                yield Problem("episode", f"{row.id} cannot be read: {error}", COPY)
            if row.seating not in seatings:
                what = f"nothing says who sat where in {row.id}"
                yield Problem("episode", what, COPY)
        yield from self._told(changes)

    def _episode_rows(self) -> Iterator[tuple[EpisodeRow, str, str | None]]:
        """Yield every episode with its stage and the hash that lies beside it."""
        columns = ", ".join(f't."{column}"' for column in EpisodeRow._fields)
        for stage, _, mark, *row in self._pages(self._tables["episodes"], columns, _READ):
            yield EpisodeRow._make(row), str(stage), mark

    def _pages(self, table: Table, columns: str, at_once: int) -> Iterator[Row]:
        """Yield stage, key, hash and columns of every row ``t``, some in memory at a time."""
        query = (
            f"SELECT t.rowid, {table.group()}, {table.name_of()}, h.hash, {columns} "
            f'FROM "{table.name}" t LEFT JOIN {ROW_HASHES} h ON {_beside(table, "t")} '
            f"WHERE t.rowid >= ? ORDER BY t.rowid LIMIT {at_once}"
        )
        first = -1 << 63
        while first < 1 << 63 and (rows := self._rows(query, (first,))):
            first = rows[-1][0] + 1
            yield from [row[1:] for row in rows]

    def _shared(self) -> tuple[set[str], list[str]]:
        """Return the hashes of seatings, and the seatings and rules that were altered."""
        seats: dict[str, list[Row]] = defaultdict(list)
        for name, *seat in self._rows(
            "SELECT hash, seat, role, agent FROM seatings ORDER BY hash, place"
        ):
            seats[name].append(tuple(seat))
        rules = self._rows("SELECT hash, rules FROM rules")
        broken = [
            f"who sat where ({name})"
            for name, rows in seats.items()
            if not _good(_are_seats, name, rows)
        ]
        broken += [
            f"rules ({name})" for name, text in rules if not _good(_are_rules, name, text)
        ]
        return set(seats), broken

    def rows(self) -> Iterator[Problem]:
        """Yield rows of all other tables that are not those that were written."""
        for name, table in self._tables.items():
            if name != "episodes":
                changes = _Changes(table)
                pages = self._pages(table, table.values(), _READ * 16)
                for stage, key, mark, *values in pages:
                    if mark is None:
                        changes.added.append((stage, key))
                    elif not _good(_is_hash, mark, values):
                        changes.altered.append((stage, key))
                yield from self._told(changes)
        odd = [str(key) for (key,) in self._rows(_ODDLY_MARKED, OF_THE_RUN)]
        if odd:
            what = f"{_rows_of(ROW_HASHES, odd)}: marked as if a seal counted them"
            yield Problem("seal", what, COPY)
        known = ", ".join("?" * len(self._tables))
        for (name,) in self._rows(
            f'SELECT DISTINCT "table" FROM {ROW_HASHES} WHERE "table" NOT IN ({known})',
            list(self._tables),
        ):
            yield Problem(
                "seal", f"{ROW_HASHES} names a table {name} that is not there", COPY
            )

    def _told(self, changes: "_Changes") -> Iterator[Problem]:
        """Yield what changed in a table, and what is missing from it."""
        table = changes.table
        changes.missing = self._rows(
            f'SELECT stage, "key" FROM {ROW_HASHES} WHERE "table" = ? '
            f'EXCEPT SELECT {table.group()}, {table.name_of()} FROM "{table.name}" t '
            f"EXCEPT SELECT '', '{LAST}' WHERE ? = 'seals'",
            (table.name, table.name),
        )
        for problem in changes.problems():
            self.altered.add(table.name)
            yield problem

    def signals(self) -> Iterator[Problem]:
        """Yield breaks in the chain of signals."""
        if "signals" in self.altered:
            return  # told row by row
        broken = self._run.signals.first_broken()
        if broken:
            what = f"signal {broken} does not continue the one before it"
            yield Problem("signals", what, COPY)
        if "stages" not in self.altered:
            last = self._run.signals.last_id()
            for stage in self._run.stages.all():
                if stage.signals_to > last:
                    what = f"stage {stage.id} read up to {stage.signals_to}, the last is {last}"
                    yield Problem("signals", what, COPY)

    def seals(self) -> Iterator[Problem]:
        """Yield breaks in the chain of seals, and stages that are not as they were sealed."""
        previous = ""
        contents = "{}"
        sealed: list[str] = []
        done = [
            name for (name,) in self._rows("SELECT id FROM stages WHERE status = 'done'")
        ]
        for number, stage, contents, link, mark in self._rows(
            "SELECT id, stage, contents, previous, hash FROM seals ORDER BY id"
        ):
            if mark != seal_hash(stage, contents, link):
                yield Problem(
                    "seal", f"seal {number} was altered after it was written", COPY
                )
            elif link != previous:
                what = f"seal {number} does not continue the one before it"
                yield Problem("seal", what, COPY)
            previous = mark
            lost = msgspec.json.decode(contents, type=dict[str, Any]).get("lost")
            if lost:
                what = f"before seal {number} something was lost that an earlier one counts"
                yield Problem("seal", f"{what}: of {', '.join(map(str, lost))}", COPY)
            if stage:
                sealed.append(stage)
                yield from self._stage(stage, contents)
        for name in done:
            if name not in sealed:
                yield Problem("seal", f"stage {name} is done and has no seal", COPY)
        if sorted(set(sealed)) != sorted(sealed):
            yield Problem("seal", "a stage was sealed twice", COPY)
        newest = self._rows(
            f"SELECT hash FROM {ROW_HASHES} WHERE \"table\" = 'seals' AND \"key\" = '{LAST}'"
        )
        if newest != ([(previous,)] if previous else []):
            yield Problem(
                "seal", "the last seal is not the one that was written last", COPY
            )
        yield from self._end(msgspec.json.decode(contents, type=dict[str, Any]))

    def _end(self, said: dict[str, Any]) -> Iterator[Problem]:
        """Yield what the last seal counts and is not there any more.

        Args:
            said: its contents; empty where there is none.
        """
        row = self._run.database.row("SELECT status FROM runs")
        if row is None:
            yield Problem("runs", "the row of the run itself is missing", COPY)
            return
        lost = {*self._run.seals.lost()}
        if row[0] == "done" and not self._rows(
            "SELECT 1 FROM stages WHERE status != 'done'"
        ):
            if not said:
                yield Problem("seal", "the run is done and has no seal of its end", COPY)
            now = self._run.seals.sums("", OF_AN_END)
            lost |= {t for t in OF_AN_END if said.get("run", {}).get(t) != now.get(t)}
        for table in sorted(lost - self.altered):
            what = f"{table}: something that the last seal counts is missing, or is another"
            yield Problem("seal", what, COPY)

    def _stage(self, stage: str, contents: str) -> Iterator[Problem]:
        """Compare a stage with its seal."""
        said = msgspec.json.decode(contents, type=dict[str, Any])
        tables = said.get("tables", {})
        now = self._run.seals.sums(stage, OF_STAGES)
        for table in OF_STAGES:
            then, found = tables.get(table, [0, ""]), now.get(table, [0, ""])
            if then != found and table not in self.altered:
                what = (
                    f"{table} of stage {stage} are not those that were sealed: "
                    f"{then[0]} then, {found[0]} now"
                )
                yield Problem("seal", what, COPY)
        if "stages" not in self.altered and said.get("facts") != self._run.seals.facts(
            stage
        ):
            yield Problem("seal", f"stage {stage} is not as it was sealed", COPY)


class _Changes:
    """Changes in one table: (stage, key) each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.added: list[Row] = []
        self.altered: list[Row] = []
        self.missing: list[Row] = []

    def problems(self) -> Iterator[Problem]:
        """Yield one problem for all that became of rows of one stage."""
        kind = _KINDS.get(self.table.name, self.table.name)
        gone = {key: stage for stage, key in self.missing}
        moved = {key for stage, key in self.added if key in gone}
        for stage, key in self.added:
            if key in moved:
                was = gone[key]
                what = f"{self._rows([key])} was moved"
                if was != stage:
                    what += f" from {was or 'no stage'} to {stage or 'no stage'}"
                yield Problem(kind, what, COPY)
        for rows, said, advice in (
            (self.missing, "missing", COPY),
            (self.added, "added, or its hash was removed", COPY),
            (self.altered, "altered after {} written", COPY),
        ):
            rest = sorted((str(s), str(key)) for s, key in rows if key not in moved)
            for stage, same in groupby(rest, key=lambda row: row[0]):
                names = [key for _, key in same]
                yield Problem(kind, self._sentence(stage, names, said), advice)

    def _sentence(self, stage: str, names: Sequence[str], said: str) -> str:
        one = len(names) == 1
        be = "is" if said == "missing" else "was"
        verb = be if one else {"is": "are", "was": "were"}[be]
        said = said.format("it was" if one else "they were")
        where = (
            f" of stage {stage}"
            if stage and not (one and self.table.name == "episodes")
            else ""
        )
        return f"{self._rows(names)}{where} {verb} {said}"

    def _rows(self, names: Sequence[str]) -> str:
        return _rows_of(self.table.name, names)


def _rows_of(table: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0] if table == "episodes" else f"row {names[0]} of {table}"
    return f"{len(names)} rows of {table} ({listed(names)})"


def _beside(table: Table, row: str) -> str:
    """Return SQL that joins a row with its hash ``h``."""
    return (
        f"h.stage = {table.group(row)} AND h.\"table\" = '{table.name}' "
        f'AND h."key" = {table.name_of(row)}'
    )


def _good(check: Callable[..., bool], *values: Any) -> bool:
    """Return whether something is as it was written; not if it could never be written so."""
    try:
        return check(*values)
    except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
        return False


def _is_episode(row: EpisodeRow) -> bool:
    return row.hash == episode_hash(row[:-1])


def _are_seats(name: str, seats: Iterable[Row]) -> bool:
    return name == seating_hash(seats)


def _are_rules(name: str, rules: str) -> bool:
    return name == text_hash(rules)


def _is_hash(mark: str, values: Iterable[Any]) -> bool:
    return mark == row_hash(*values)
