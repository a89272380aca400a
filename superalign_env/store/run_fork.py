"""A fork: a run folder of its own that begins as another run was after one of its stages.

The record is copied as a whole and its later stages are taken back, by the same code that
takes back a stage which never ended; so whatever holds for a resumed run holds for a fork.
"""

import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from superalign_env.errors import RecordDamaged, RecordError
from superalign_env.store import run_folder
from superalign_env.store.database import Database
from superalign_env.store.files import named_files
from superalign_env.store.run import Run
from superalign_env.store.run_lock import RunLock, in_words
from superalign_env.store.seals import Files, Seals
from superalign_env.store.undo import remove_stage

_KEPT_FOR_EVER = "signals_are_never_removed"


def fork_record(
    source: Run, path: Path | str, *, stage: str, config: Mapping[str, Any], seed: int
) -> None:
    """Make a run folder that holds another run up to the end of one of its stages.

    It appears whole or not at all: until everything is copied it is no run.

    Args:
        source: opened, to read at least.
        path: the new folder; may exist, but holds no run yet.
        stage: id of the last stage that is taken over; it is done.
        config: of the new run.
        seed: of the new run.

    Raises:
        RecordError: the stage is unknown or not done, or the folder is the source's own
            or holds a run already.
        RecordDamaged: a file that the record names is missing.
    """
    path = Path(path)
    if source.stages.get(stage).status != "done":
        raise RecordError(
            f"stage {stage} of {source.path} never ended; fork after one that is done "
            f"({_done(source)}), or continue the run with --resume"
        )
    if path.resolve() == source.path.resolve():
        raise RecordError(f"{path} is the run that is forked; choose another run_dir")
    plain = run_folder.recordable(path, config)
    with in_words(path, "make"):
        path.mkdir(parents=True, exist_ok=True)
        run_folder.require_own(path)
    partial = path / run_folder.PARTIAL
    lock = RunLock(path)
    try:
        if (path / run_folder.DATABASE).exists() and run_folder.begun(path):
            raise RecordError(f"{path} holds a run already; choose another run_dir")
        for leftover in path.glob(f"{run_folder.DATABASE}*"):  # of one that was killed
            leftover.unlink()
        with closing(sqlite3.connect(partial)) as copy:
            source.database.connection.backup(copy)
        with closing(Database(partial)) as database:
            lost = Seals(database).ever_lost()  # before later seals go, which say so
            _cut(database, stage)
            run_folder.inherit_row(database, path, plain, seed=seed, inherited=stage)
            named = named_files(database)
            for name in sorted(named):
                _copy(source.path, path, name)
            run_folder.write_config(path, plain)
            files = Files(database)
            files.forget(
                name
                for name in files.all()
                if not any(name == one or name.startswith(f"{one}/") for one in named)
            )
            files.keep(run_folder.CONFIG)
            Seals(database).add(lost=lost)
        partial.rename(path / run_folder.DATABASE)
    finally:
        lock.release()


def _done(source: Run) -> str:
    return ", ".join(stage.id for stage in source.stages.all(status="done")) or "none is"


def _cut(database: Database, last: str) -> None:
    """Take back everything that came after a stage."""
    place = database.value("SELECT rowid FROM stages WHERE id = ?", (last,))
    later = database.rows(
        "SELECT id, signals_to FROM stages WHERE rowid > ? ORDER BY rowid", (place,)
    )
    with database.transaction() as connection:
        if later:
            # The stage after it may hear what was said until it began, and so may ours.
            _forget_signals(connection, after=int(later[0][1]))
        for stage, _ in reversed(later):
            remove_stage(connection, str(stage))
        connection.execute(
            "DELETE FROM questions WHERE episode NOT IN (SELECT id FROM episodes) "
            "AND id NOT IN (SELECT question FROM signals)"
        )
        connection.execute("DELETE FROM leases")
        # What was sealed later, or when the source was closed, is no part of this run.
        connection.execute(
            "DELETE FROM seals WHERE id > (SELECT id FROM seals WHERE stage = ?)", (last,)
        )


def _forget_signals(connection: sqlite3.Connection, *, after: int) -> None:
    (rule,) = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name = ?", (_KEPT_FOR_EVER,)
    ).fetchone()
    connection.execute(f"DROP TRIGGER {_KEPT_FOR_EVER}")
    connection.execute("DELETE FROM signals WHERE id > ?", (after,))
    connection.execute(rule)


def _copy(source: Path, target: Path, name: str) -> None:
    """Copy a file or folder of a run.

    Raises:
        RecordDamaged: it is missing, or lies outside the run.
    """
    origin = source / name
    if not origin.resolve().is_relative_to(source.resolve()):
        raise RecordDamaged(f"{source} names {name}, which lies outside of it")
    place = target / name
    if origin.is_dir():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(origin, place)
    elif origin.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, place)
    else:
        raise RecordDamaged(
            f"{origin} is missing, and the record names it; restore it from a copy, or fork "
            "at an earlier stage"
        )
