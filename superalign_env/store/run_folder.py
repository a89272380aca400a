"""A run folder on disk: made, found, locked, brought up to date.

One process at a time works on a run. The operating system frees its lock when it dies, however
it dies; annotators and readers need none.
"""

import logging
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from superalign_env.canonical import content_hash, to_json
from superalign_env.errors import (
    RecordDamaged,
    RecordError,
    RecordLocked,
    hint,
    nearest,
)
from superalign_env.plain_text import inline
from superalign_env.store import migrations
from superalign_env.store.database import Database, reporting_full_disk
from superalign_env.store.provenance import revision, versions
from superalign_env.store.seals import Files

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_held: dict[Path, int] = {}
"""Locks of this process, by pid: record locks do not exclude their own process."""

_FAR = 1 << 20
"""Windows locks bytes, not files; a byte beyond the text leaves that readable."""


class RunLock:
    """Exclusive lock of a run folder, held from construction until `release`.

    Raises:
        RecordLocked: names the process that works on the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = (folder / "run.lock").resolve()
        if _held.get(self._path) == os.getpid():
            raise RecordLocked(
                f"this process (pid {os.getpid()}) already works on {folder}; "
                "close that Run first, or open this one with readonly=True"
            )
        self._file: IO[str] | None = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115 - held while the run is open
        try:
            _seize(self._file)
        except OSError:
            holder = _holder(self._file)
            self._file.close()
            raise RecordLocked(
                f"{holder} works on {folder}; wait for it (who only reads needs no lock: "
                "readonly=True)"
            ) from None
        self._file.truncate(0)
        self._file.write(f"pid {os.getpid()} on {socket.gethostname()}")
        self._file.flush()
        _held[self._path] = os.getpid()

    def release(self) -> None:
        """Let others work on the run; twice does no harm."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None
            _held.pop(self._path, None)


def _seize(file: IO[str]) -> None:
    if sys.platform == "win32":
        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read(200).strip() or "another process"


DATABASE = "run.db"
CONFIG = "config.yaml"

_RUNS_NAMED = 8
"""Runs that a message lists where the one that is sought is not there."""


def make(
    path: Path, *, kind: str, config: Mapping[str, Any], seed: int, parent: str | None
) -> tuple[Database, RunLock]:
    """Make a run folder with an empty record.

    Raises:
        RecordError: the folder holds a run already.
        RecordLocked: another process works in the folder.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = RunLock(path)
    try:
        database = Database(path / DATABASE)
        if migrations.applied(database):
            raise RecordError(
                f"{path} holds a run already; choose another folder (`superalign train "
                "--resume` continues a run of its own)"
            )
        plain = msgspec.to_builtins(dict(config))
        # First, so that no run lacks it, whenever its process dies.
        with reporting_full_disk(path / CONFIG):
            (path / CONFIG).write_bytes(msgspec.yaml.encode(plain))
        with database.transaction():
            migrations.migrate(database)
            _write_row(database, path, kind, plain, seed, parent)
            Files(database).keep(CONFIG)
    except BaseException:
        lock.release()
        raise
    return database, lock


def enter(path: Path, *, readonly: bool, lock: bool) -> tuple[Database, RunLock | None]:
    """Open the record of a run folder; an older schema is brought up to date.

    Raises:
        RecordError: there is no run; the message names the nearest ones.
        RecordLocked: another process works on the run.
        RecordDamaged: the database is broken.
        RecordTooNew: a later version wrote it.
    """
    require_run(path)
    held = RunLock(path) if lock else None
    try:
        if _is_old(path):
            _upgrade(path, held)
        return Database(path / DATABASE, readonly=readonly), held
    except BaseException:
        if held is not None:
            held.release()
        raise


def require_run(path: Path) -> None:
    """Raise unless a folder holds a run.

    Raises:
        RecordError: names the nearest runs beside it.
    """
    if (path / DATABASE).is_file():
        return
    beside = path if path.is_dir() else path.parent
    runs = sorted(database.parent for database in beside.glob(f"*/{DATABASE}"))
    names = [run.name for run in runs]
    near = [] if path.is_dir() else nearest(path.name, names)
    suggestion = hint(
        [str(beside / name) for name in near],
        names[:_RUNS_NAMED],
        listed=f"runs in {beside}",
    )
    raise RecordError(f"no run at {path}; {suggestion}")


def _is_old(path: Path) -> bool:
    """Return whether a database awaits migrations; raise if it is no record at all."""
    database = Database(path / DATABASE, readonly=True)
    try:
        names = migrations.applied(database)
    finally:
        database.close()
    if not names:
        raise RecordDamaged(
            f"{path / DATABASE} is empty; its run was never begun: start it without --resume"
        )
    return len(names) < len(migrations.MIGRATIONS)


def _upgrade(path: Path, lock: RunLock | None) -> None:
    """Migrate under the lock, with a warning.

    Raises:
        RecordLocked: somebody does.
    """
    try:
        own = RunLock(path) if lock is None else None
    except RecordLocked as error:
        raise RecordLocked(
            f"{path} was written by an earlier version and is brought up to date before it is "
            f"read; wait until nobody works on it: {str(error).partition(';')[0]}"
        ) from None
    database = Database(path / DATABASE)
    try:
        # On stderr where nobody configured logging: whoever only reads a run shall know.
        logging.getLogger(__name__).warning(
            "%s was written by an earlier version and is brought up to date in place; "
            "that version cannot open it any more",
            inline(str(path)),
        )
        migrations.migrate(database)
    finally:
        database.close()
        if own is not None:
            own.release()


def inherit_row(
    database: Database, path: Path, config: Any, *, seed: int, inherited: str
) -> None:
    """Make the copied record of a run that of its fork.

    Args:
        database: the copy.
        path: folder of the fork.
        config: of the fork.
        seed: of the fork.
        inherited: id of the last stage that it takes over.
    """
    parent, kind = database.row("SELECT id, kind FROM runs") or ("", "")
    with database.transaction() as connection:
        connection.execute("DELETE FROM runs")
        _write_row(database, path, kind, config, seed, parent, inherited)
        connection.execute("UPDATE stages SET run = (SELECT id FROM runs)")
        connection.execute("UPDATE runs SET status = 'interrupted'")


def _write_row(
    database: Database,
    path: Path,
    kind: str,
    config: Any,
    seed: int,
    parent: str | None,
    inherited: str = "",
) -> None:
    commit = revision()
    made_of = [kind, config, seed, commit, parent, *filter(None, [inherited])]
    name = f"{path.resolve().name}-{content_hash(made_of)[:8]}"
    row = {
        "id": name,
        "parent": parent,
        "kind": kind,
        "status": "running",
        "config": to_json(config).decode(),
        "versions": to_json(versions()).decode(),
        "revision": commit,
        "seed": seed,
        "inherited": inherited,
    }
    with database.transaction() as connection:
        connection.execute(
            f"INSERT INTO runs({', '.join(row)}) VALUES ({', '.join(f':{c}' for c in row)})",
            row,
        )
