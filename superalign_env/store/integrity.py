"""Integrity of a record: what is missing, was added or altered since it was written.

`validate` names every problem and repairs nothing; whatever lies in the record, it raises
nothing.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from superalign_env.errors import RecordDamaged, RecordError
from superalign_env.store import schema
from superalign_env.store.database import Database, Row
from superalign_env.store.digests import digest
from superalign_env.store.file_integrity import NOT_SEALED, Problem, file_problems
from superalign_env.store.files import OnBytes
from superalign_env.store.record_integrity import COPY, Record
from superalign_env.store.run import Run
from superalign_env.store.run_folder import DATABASE, begun
from superalign_env.store.seals import OF_STAGES

_TOLD = 20
"""Lines of SQLite about damage that are repeated."""


def validate(run: Run, progress: OnBytes | None = None) -> list[Problem]:
    """Return everything that is wrong with a run; an empty list when nothing is.

    Checks SQLite's own integrity, the schema, foreign keys, the hash of every row and of every
    file, the chains of signals and of seals, and that nothing is missing or was added. What
    was written after the last seal is no problem: see `unsealed`.

    Args:
        run: opened, to read at least.
        progress: is called with (bytes read, bytes in all) while files are hashed.
    """
    try:
        with run.database.snapshot():
            return _validate(run, progress)
    except RecordError as error:
        return [Problem("database", str(error), COPY)]


def _validate(run: Run, progress: OnBytes | None) -> list[Problem]:
    broken = _all_of("the database", _damage(run))
    if broken:
        return broken
    problems = _all_of("the schema", _schema(run))
    if any(problem.kind == TABLE for problem in problems):
        return problems
    record = Record(run)
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
        problems.append(Problem("file", what, COPY))
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
        RecordError: there is no run, it has another format, or cannot be read now.
    """
    try:
        if (path / DATABASE).is_file() and not begun(path):
            advice = f"{COPY}, or begin the run with --resume if it never was begun"
            return Examination([Problem("database", "run.db holds nothing", advice)], [])
        with Run.open(path, readonly=True) as run:
            problems = validate(run, progress)
            if problems:
                return Examination(problems, [], _count(run))
            parts = digest(run) if with_digest else {}
            return Examination([], unsealed(run), run.count(), parts)
    except RecordDamaged as error:
        return Examination([Problem("database", str(error), COPY)], [])
    except RecordError:
        raise
    except Exception as error:  # whatever lies in a record, it is told
        what = f"run.db cannot be read: {error}"
        return Examination([Problem("database", what, COPY)], [])


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
        found.append(Problem("database", f"{what} cannot be checked: {reason}", COPY))
    return found


def _damage(run: Run) -> Iterator[Problem]:
    lines = [str(line) for (line,) in run.database.rows("PRAGMA integrity_check")]
    for line in lines[:_TOLD]:
        if line != "ok":
            advice = f"{COPY}, or recover what can be read with `sqlite3 run.db .recover`"
            yield Problem("database", line, advice)


_SCHEMA = (
    "SELECT name, type, tbl_name, sql FROM main.sqlite_master "
    "WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)


def schema_of(database: Database) -> dict[str, Row]:
    """Return name → (type, table, SQL) of tables, views, indices and triggers."""
    return {row[0]: row[1:] for row in database.rows(_SCHEMA)}


def schema_of_a_new_record() -> dict[str, Row]:
    """Return the same of a record that was made now."""
    with closing(sqlite3.connect(":memory:")) as connection:
        schema.create(connection)
        return {row[0]: row[1:] for row in connection.execute(_SCHEMA)}


def _schema(run: Run) -> Iterator[Problem]:
    """Yield tables, views, indices and triggers that are not as in a new record."""
    new, now = schema_of_a_new_record(), schema_of(run.database)
    for name in sorted(new.keys() | now.keys()):
        if new.get(name) != now.get(name):
            yield _misshaped(name, new.get(name), now.get(name))


SCHEMA, TABLE = "schema", "table"
"""Kinds of problems: nothing else can be checked where tables are not as they should be."""


def _misshaped(name: str, new: Row | None, now: Row | None) -> Problem:
    shape = (new or now or ("",))[0]
    anew = "`superalign doctor` puts it right"
    if new is None:
        by_hand = f"remove it with: sqlite3 run.db 'DROP TABLE \"{name}\"'"
        advice = by_hand if shape == "table" else anew
        return Problem(SCHEMA, f"{shape} {name} was added", advice)
    said = "is missing" if now is None else "was altered"
    if now is not None and now[0] != shape:
        said = f"is a {now[0]} now"
    if shape == "table":
        return Problem(TABLE, f"{shape} {name} {said}", COPY)
    by_hand = f"remove it with: sqlite3 run.db 'DROP TABLE \"{name}\"', then call doctor"
    replaced = now is not None and now[0] == "table"
    return Problem(SCHEMA, f"{shape} {name} {said}", by_hand if replaced else anew)


def unsealed(run: Run) -> list[str]:
    """Return what of a run no seal covers yet, a sentence each; it is no problem.

    Stages that never ended are done again, or discarded, by whoever resumes the run.
    """
    notes = []
    for (stage,) in run.database.rows(
        "SELECT id FROM stages WHERE status != 'done' ORDER BY number"
    ):
        counts = run.seals.sums(stage, OF_STAGES)
        written = ", ".join(
            f"{count} {table}" for table, (count, _) in counts.items() if table != "undo"
        )
        notes.append(
            f"stage {stage} has not ended: {written or 'nothing'} of it is unsealed"
        )
    for name, why in sorted(NOT_SEALED.items()):
        if (run.path / name).exists():
            notes.append(f"{name} is never sealed: {why}")
    since = run.seals.since_last()
    if since:
        notes.append(f"after the last seal: {', '.join(since)}")
    return notes
