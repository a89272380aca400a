"""A run folder on disk: made, found, opened."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from superalign_env.canonical import content_hash, to_json
from superalign_env.errors import RecordError, hint, nearest
from superalign_env.store import schema
from superalign_env.store.database import Database
from superalign_env.store.provenance import revision, versions
from superalign_env.store.run_lock import LOCK, RunLock, in_words
from superalign_env.store.seals import Files

DATABASE = "run.db"
CONFIG = "config.yaml"

PARTIAL = f"{DATABASE}.partial"
"""The record of a fork that is still being copied."""

_RUNNING_WRITES = (CONFIG, "checkpoints", "summary.json", "summary.md")
"""What a run replaces or sweeps in its folder, and what may be another program's there."""

_RUNS_NAMED = 8
"""Runs that a message lists where the one that is sought is not there."""


def make(
    path: Path, *, kind: str, config: Mapping[str, Any], seed: int, parent: str | None
) -> tuple[Database, RunLock]:
    """Make a run folder with an empty record.

    Raises:
        RecordError: the folder holds a run already, or another program's files, or cannot
            be made.
        RecordLocked: another process works in the folder.
    """
    plain = recordable(path, config)
    with in_words(path, "make"):
        path.mkdir(parents=True, exist_ok=True)
        require_own(path)
    lock = RunLock(path)
    try:
        if begun(path):
            raise RecordError(
                f"{path} holds a run already; choose another folder (`superalign train "
                "--resume` continues a run of its own)"
            )
        # First, so that no run lacks it, whenever its process dies.
        write_config(path, plain)
        database = Database(path / DATABASE)
        with database.transaction() as connection:
            schema.create(connection)
            _write_row(database, path, kind, plain, seed, parent)
            Files(database).keep(CONFIG)
    except BaseException:
        lock.release()
        raise
    return database, lock


def write_config(path: Path, config: Any) -> None:
    """Write the settings of a run into its folder, as a whole or not at all."""
    partial = path / f"{CONFIG}.partial"
    with in_words(path / CONFIG, "write"):
        partial.write_bytes(msgspec.yaml.encode(config))
        partial.replace(path / CONFIG)


def left_config(path: Path) -> dict[str, Any] | None:
    """Return the settings of a run that was never begun, where its process left them."""
    try:
        config = msgspec.yaml.decode((path / CONFIG).read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return config if (path / LOCK).is_file() else None


def enter(path: Path, *, readonly: bool, lock: bool) -> tuple[Database, RunLock | None]:
    """Open the record of a run folder.

    Raises:
        RecordError: there is no run; the message names the nearest ones.
        RecordLocked: another process works on the run.
        RecordDamaged: the database is broken.
        RecordOtherFormat: another version wrote it.
    """
    with in_words(path, "open"):
        require_run(path)
        held = RunLock(path) if lock else None
    try:
        if not begun(path):
            raise RecordError(
                f"the run at {path} was never begun: its process died before; superalign "
                f"train with its settings and run_dir={path} begins it, with --resume or not"
            )
        return Database(path / DATABASE, readonly=readonly), held
    except BaseException:
        if held is not None:
            held.release()
        raise


def begun(path: Path) -> bool:
    """Return whether a run was begun in a folder, and can therefore be opened or resumed.

    False for a folder that is missing or empty, and for one whose process died before its
    first row was written.

    Raises:
        RecordDamaged: its database is broken, or another program's.
        RecordOtherFormat: another version wrote it.
        RecordError: a fork into it was not finished, or it cannot be read.
    """
    with in_words(path, "read"):
        if not (path / DATABASE).is_file():
            if (path / PARTIAL).exists():
                raise RecordError(
                    f"a fork into {path} was not finished; give the same superalign fork "
                    "command again"
                )
            return False
    with closing(Database(path / DATABASE, readonly=True)) as database:
        return schema.is_created(database)


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


def recordable(path: Path, config: Mapping[str, Any]) -> Any:
    """Return settings as plain values, when they and the folder's name can be recorded.

    Raises:
        RecordError: they cannot, and nothing was made.
    """
    plain = msgspec.to_builtins(dict(config))
    with in_words(path, "make"):
        names = [str(path), os.path.basename(os.path.realpath(path))]
    for what, text in (("name", names), ("settings", plain)):
        try:
            to_json(text)
        except UnicodeEncodeError:
            raise RecordError(
                f"the {what} of {str(path)!a} cannot be recorded, as there are characters in "
                "it that are no UTF-8 text; write it with others"
            ) from None
    return plain


def require_own(path: Path) -> None:
    """Raise where a run would write over files that no run left.

    Raises:
        RecordError: names them.
    """
    if (path / LOCK).is_file() or (path / DATABASE).is_file():
        return
    foreign = [name for name in _RUNNING_WRITES if (path / name).exists()]
    if foreign:
        raise RecordError(
            f"{path} holds {', '.join(foreign)}, and no run left that there; choose another "
            "folder, so that nothing of it is written over"
        )


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
