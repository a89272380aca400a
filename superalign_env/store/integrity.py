"""Integrity of a record: what is missing, was added or altered since it was written.

`validate` names every problem and repairs nothing; whatever lies in the record, it raises
nothing.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from superalign_env.errors import RecordDamaged, RecordError
from superalign_env.store.database import Row
from superalign_env.store.digests import digest
from superalign_env.store.file_integrity import Problem, file_problems, listed
from superalign_env.store.files import OnBytes
from superalign_env.store.migrations import MIGRATIONS
from superalign_env.store.queries import EpisodeQueries
from superalign_env.store.row_hashes import ROW_HASHES, Table, hashed_tables, row_hash
from superalign_env.store.run import Run
from superalign_env.store.seals import OF_STAGES, seal_hash
from superalign_env.store.serialization import (
    EpisodeRow,
    is_sealed,
    rules_are_sealed,
    seats_are_sealed,
)

_READ = 256
"""Episodes in memory at a time."""

_TOLD = 20
"""Lines of SQLite about damage that are repeated."""

_COPY = "restore run.db from a copy of the run"
_BY_HAND = f"{_COPY}; nothing here can tell what was there"

_KINDS = {"episodes": "episode", "stages": "stage", "seals": "seal", "row_hashes": "seal"}
"""Table → kind of its problems; else its own name."""


def validate(run: Run, progress: OnBytes | None = None) -> list[Problem]:
    """Return everything that is wrong with a run; an empty list when nothing is.

    Checks SQLite's own integrity, the schema, foreign keys, the hash of every row and of every
    file, the chains of signals and of seals, and that nothing is missing or was added. What
    was written after the last seal is no problem: see `unsealed`.

    Args:
        run: opened, to read at least.
        progress: is called with (bytes read, bytes in all) while files are hashed.
    """
    with run.database.lossless():
        damage = _all_of("the database", _database(run))
        if damage:
            return damage
        schema = _Schema(run)
        problems = _all_of("the schema", schema.problems())
        if schema.unusable:
            return problems
        record = _Record(run)
        for what, check in (
            ("references", record.references),
            ("episodes", record.episodes),
            ("rows", record.rows),
            ("signals", record.signals),
            ("seals", record.seals),
        ):
            problems += _all_of(what, check())
        if "stages" not in record.altered:
            problems += _all_of("files", file_problems(run, progress))
        else:
            what = "files cannot be checked: what stages left was altered"
            problems.append(Problem("file", what, _COPY))
    return problems


class Examination(NamedTuple):
    """What `examine` found out about a run folder."""

    problems: list[Problem]
    unsealed: list[str]
    """See `unsealed`."""
    episodes: int = 0
    digest: Mapping[str, str] = {}
    """See `digests.digest`; empty unless it was asked for."""


def examine(
    path: Path, progress: OnBytes | None = None, *, with_digest: bool = False
) -> Examination:
    """Open and validate a run folder, whatever lies there.

    Args:
        path: the folder.
        progress: is called with (bytes read, bytes in all) while files are hashed.
        with_digest: also compute the digest, of a run without problems.

    Raises:
        RecordError: there is no run, or it cannot be read now.
    """
    try:
        with Run.open(path, readonly=True) as run:
            problems = validate(run, progress)
            if problems:
                return Examination(problems, [], _count(run))
            parts = digest(run) if with_digest else {}
            return Examination([], unsealed(run), run.count(), parts)
    except RecordDamaged as error:
        return Examination([Problem("database", str(error), _COPY)], [])


def _count(run: Run) -> int:
    try:
        return run.count()
    except RecordError:
        return 0


def _all_of(what: str, problems: Iterator[Problem]) -> list[Problem]:
    """Return the problems that a check yields, and one more if it cannot be finished."""
    found: list[Problem] = []
    try:
        found.extend(problems)
    except Exception as error:  # whatever lies in a record, it is told
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        found.append(Problem("database", f"{what} cannot be checked: {reason}", _COPY))
    return found


def _database(run: Run) -> Iterator[Problem]:
    lines = [str(line) for (line,) in run.database.rows("PRAGMA integrity_check")]
    for line in lines[:_TOLD]:
        if line != "ok":
            advice = f"{_COPY}, or recover what can be read with `sqlite3 run.db .recover`"
            yield Problem("database", line, advice)


class _Schema:
    """Tables, views, indices and triggers, beside those that a new record has."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._now: dict[str, Row] = {}
        self._new: dict[str, Row] = {}
        self.unusable = False
        """Whether a table is not what it should be, so that nothing else can be checked."""

    def problems(self) -> Iterator[Problem]:
        """Yield what differs."""
        query = (
            "SELECT name, type, tbl_name, sql FROM sqlite_master "
            "WHERE (tbl_name != '_sqlite_migrations' OR type = 'trigger') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        with closing(sqlite3.connect(":memory:")) as connection:
            for step in MIGRATIONS:
                step(connection)  # type: ignore[arg-type]  # it only runs a script
            self._new = {row[0]: row[1:] for row in connection.execute(query)}
        self._now = {row[0]: row[1:] for row in self._run.database.rows(query)}
        for name in sorted(self._new.keys() | self._now.keys()):
            if self._new.get(name) != self._now.get(name):
                yield self._problem(name)

    def _problem(self, name: str) -> Problem:
        new, now = self._new.get(name), self._now.get(name)
        kind = (new or now or ("",))[0]
        if new is None:
            advice = f"remove it with: sqlite3 run.db 'DROP {kind.upper()} \"{name}\"'"
            return Problem("schema", f"{kind} {name} was added", advice)
        advice = _COPY
        if kind == "table":
            self.unusable = True
        elif now is None or now[0] != "table":
            advice = "`superalign doctor` makes it anew"
        said = "is missing" if now is None else "was altered"
        if now is not None and now[0] != kind:
            said = f"is a {now[0]} now"
        return Problem("schema", f"{kind} {name} {said}", advice)


class _Record:
    """The rows of a record, beside their hashes and seals."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._rows = run.database.rows
        self._tables = {
            table.name: table for table in hashed_tables(run.database.connection)
        }
        self.altered: set[str] = set()
        """Tables in which something is missing, or was added or altered."""

    def references(self) -> Iterator[Problem]:
        """Yield what points at nothing."""
        found = self._rows("PRAGMA foreign_key_check")
        found.sort(key=lambda row: (str(row[0]), str(row[2])))
        for (table, target), rows in groupby(found, key=lambda row: (row[0], row[2])):
            numbers = [str(row[1]) for row in rows]
            what = f"{_rows_of(table, numbers)} {_point(numbers)} at nothing in {target}"
            yield Problem("reference", what, _COPY)

    def episodes(self) -> Iterator[Problem]:
        """Yield what is wrong with episodes and what they share."""
        yield from self._shared()
        changes = _Changes(self._tables["episodes"])
        queries = EpisodeQueries(self._run.database)
        for row, stage, mark in self._episode_rows():
            name = str(row.id)
            if mark is None:
                changes.added.append((stage, name))
            if not _sealed(row) or mark not in (None, row.hash):
                changes.altered.append((stage, name))
            else:
                yield from _unreadable(queries, row)
        yield from self._told(changes)

    def _episode_rows(self) -> Iterator[tuple[EpisodeRow, str, str | None]]:
        """Yield every episode with its stage and the hash that lies beside it."""
        columns = ", ".join(f'e."{column}"' for column in EpisodeRow._fields)
        table = self._tables["episodes"]
        last = -1 << 63
        while rows := self._rows(
            f"SELECT e.rowid, {table.group('e')}, h.hash, {columns} FROM episodes e "
            f"LEFT JOIN {ROW_HASHES} h ON {_beside(table, 'e')} "
            f"WHERE e.rowid > ? ORDER BY e.rowid LIMIT {_READ}",
            (last,),
        ):
            last = rows[-1][0]
            for _, stage, mark, *row in rows:
                yield EpisodeRow._make(row), str(stage), mark

    def _shared(self) -> Iterator[Problem]:
        """Yield seats and rules that are not those that episodes name."""
        seats: dict[str, list[Row]] = defaultdict(list)
        for name, *seat in self._rows(
            "SELECT hash, seat, role, agent FROM seatings ORDER BY hash, place"
        ):
            seats[name].append(tuple(seat))
        rules = self._rows("SELECT hash, rules FROM rules")
        broken = [
            *(
                f"who sat where ({n})"
                for n, rows in seats.items()
                if not _good(seats_are_sealed, n, rows)
            ),
            *(f"rules ({n})" for n, text in rules if not _good(rules_are_sealed, n, text)),
        ]
        if broken:
            what = f"{listed(broken)} of episodes: altered after it was written"
            yield Problem("episode", what, _COPY)

    def rows(self) -> Iterator[Problem]:
        """Yield rows of all other tables that are not those that were written."""
        for name, table in self._tables.items():
            if name != "episodes":
                changes = _Changes(table)
                for stage, key, mark, *values in self._rows(
                    f"SELECT {table.group()}, {table.name_of()}, h.hash, {table.values()} "
                    f'FROM "{name}" t LEFT JOIN {ROW_HASHES} h ON {_beside(table, "t")}'
                ):
                    if mark is None:
                        changes.added.append((stage, key))
                    elif not _good(_is_hash, mark, values):
                        changes.altered.append((stage, key))
                yield from self._told(changes)
        known = ", ".join("?" * len(self._tables))
        for (name,) in self._rows(
            f'SELECT DISTINCT "table" FROM {ROW_HASHES} WHERE "table" NOT IN ({known})',
            list(self._tables),
        ):
            yield Problem(
                "seal", f"{ROW_HASHES} names a table {name} that is not there", _COPY
            )

    def _told(self, changes: "_Changes") -> Iterator[Problem]:
        """Yield what changed in a table, and what is missing from it."""
        table = changes.table
        changes.missing = self._rows(
            f'SELECT stage, "key" FROM {ROW_HASHES} WHERE "table" = ? '
            f'EXCEPT SELECT {table.group()}, {table.name_of()} FROM "{table.name}" t',
            (table.name,),
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
            yield Problem("signals", what, _COPY)
        if "stages" not in self.altered:
            last = self._run.signals.last_id()
            for stage in self._run.stages.all():
                if stage.signals_to > last:
                    what = f"stage {stage.id} read up to {stage.signals_to}, the last is {last}"
                    yield Problem("signals", what, _COPY)

    def seals(self) -> Iterator[Problem]:
        """Yield breaks in the chain of seals, and stages that are not as they were sealed."""
        previous = ""
        sealed: list[str] = []
        done = [
            name for (name,) in self._rows("SELECT id FROM stages WHERE status = 'done'")
        ]
        for number, stage, contents, link, mark in self._rows(
            "SELECT id, stage, contents, previous, hash FROM seals ORDER BY id"
        ):
            if mark != seal_hash(stage, contents, link):
                yield Problem(
                    "seal", f"seal {number} was altered after it was written", _COPY
                )
            elif link != previous:
                what = f"seal {number} does not continue the one before it"
                yield Problem("seal", what, _COPY)
            previous = mark
            if stage:
                sealed.append(stage)
                yield from self._stage(stage, contents)
        for stage in done:
            if stage not in sealed:
                yield Problem("seal", f"stage {stage} is done and has no seal", _COPY)
        if sorted(set(sealed)) != sorted(sealed):
            yield Problem("seal", "a stage was sealed twice", _COPY)

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
                yield Problem("seal", what, _COPY)
        if "stages" not in self.altered and said.get("facts") != self._run.seals.facts(
            stage
        ):
            yield Problem("seal", f"stage {stage} is not as it was sealed", _COPY)


class _Changes:
    """What changed in one table: (stage, key) each."""

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
                was = gone[key] or "no stage"
                what = f"{self._rows([key])} was moved from {was} to {stage or 'no stage'}"
                yield Problem(kind, what, f"{_COPY}, or set its stage to {was} again")
        for rows, said, advice in (
            (self.missing, "missing", _COPY),
            (self.added, "added", f"remove what is no part of the run, or {_COPY}"),
            (self.altered, "altered after {} written", _COPY),
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


def _point(names: Sequence[str]) -> str:
    return "points" if len(names) == 1 else "point"


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


def _is_hash(mark: str, values: Iterable[Any]) -> bool:
    return mark == row_hash(*values)


def _sealed(row: EpisodeRow) -> bool:
    return _good(is_sealed, row)


def _unreadable(queries: EpisodeQueries, row: EpisodeRow) -> Iterator[Problem]:
    try:
        queries.whole(queries.with_shared(row))
    except (ValueError, TypeError, msgspec.MsgspecError, RecordError) as error:
        yield Problem("episode", f"{row.id} cannot be read: {error}", _BY_HAND)


def unsealed(run: Run) -> list[str]:
    """Return what of a run no seal covers yet, a sentence each; it is no problem.

    Stages that never ended are done again, or discarded, by whoever resumes the run.
    """
    notes = []
    for (stage,) in run.database.rows(
        "SELECT id FROM stages WHERE status != 'done' ORDER BY number"
    ):
        counts = run.seals.sums(stage, OF_STAGES)
        written = ", ".join(f"{count} {table}" for table, (count, _) in counts.items())
        notes.append(
            f"stage {stage} has not ended: {written or 'nothing'} of it is unsealed"
        )
    since = run.seals.since_last()
    if since:
        notes.append(f"after the last seal: {', '.join(since)}")
    return notes
