"""Repair of what is safe to repair in a run folder: nothing that was measured is touched.

What comes from the record or from the schema is made anew, what an interrupted process left
is cleared away. No hash and no seal is written for rows or files that were altered.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from superalign_env.errors import RecordError
from superalign_env.store.database import Database
from superalign_env.store.file_integrity import LEFTOVERS, unnamed_files
from superalign_env.store.files import remove
from superalign_env.store.integrity import schema_of, schema_of_a_new_record
from superalign_env.store.run import Run
from superalign_env.store.run_folder import CONFIG
from superalign_env.store.seals import CHECKPOINTS


def repair(path: Path) -> list[str]:
    """Repair a run folder; return what was done, a sentence each.

    What a killed process had not yet moved from its journal into ``run.db`` is recovered by
    opening it.

    Raises:
        RecordError: there is no run, somebody works on it, or it cannot be opened.
        OSError: the folder cannot be written.
    """
    with Run.open(path) as run:
        done = [*_schema(run.database), *_indices(run.database)]
        for step in (_statuses, _config, _files):
            try:
                done += step(run)
            except (RecordError, ValueError, msgspec.MsgspecError):
                continue  # `validate` tells what cannot be read
    return done


def _schema(database: Database) -> Iterator[str]:
    """Make views, indices and triggers as a new record has them; tables stay as they are."""
    new, now = schema_of_a_new_record(), schema_of(database)
    for name in sorted(new.keys() | now.keys()):
        wanted, found = new.get(name), now.get(name)
        if wanted == found or "table" in {(wanted or " ")[0], (found or " ")[0]}:
            continue
        with database.transaction() as connection:
            if found is not None:
                quoted = name.replace('"', '""')
                connection.execute(f'DROP {found[0]} IF EXISTS "{quoted}"')
            if wanted is not None:
                connection.execute(str(wanted[2]))
        kind = (wanted or found or ("",))[0]
        yield f"{kind} {name}: {'removed' if wanted is None else 'made anew'}"


def _indices(database: Database) -> Iterator[str]:
    """Build indices anew where they differ from their tables, and nothing else is broken."""
    lines = [str(line) for (line,) in database.rows("PRAGMA integrity_check")]
    if lines != ["ok"] and all(" index " in line for line in lines):
        with database.transaction() as connection:
            connection.execute("REINDEX")
        yield "indices: built anew"


def _statuses(run: Run) -> Iterator[str]:
    """Say of what no process works on any more that it was interrupted."""
    for stage in run.stages.all(status="running"):
        run.stages.finish(stage.id, status="interrupted")
        yield f"stage {stage.id}: interrupted, since no process works on it"
    if run.info.status == "running":
        run.set_status("interrupted")
        yield "run: interrupted, since no process works on it"


def _config(run: Run) -> Iterator[str]:
    """Write settings that are missing, if the record still holds those that were written."""
    place = run.path / CONFIG
    if place.exists():
        return
    place.write_bytes(msgspec.yaml.encode(run.info.config))
    if run.files.all().get(CONFIG) == run.files.hash_of(CONFIG):
        yield f"{CONFIG}: written anew from the record"
    else:
        place.unlink()


def _files(run: Run) -> Iterator[str]:
    """Remove what an interrupted process left half-written."""
    unfinished = any(stage.status != "done" for stage in run.stages.all())
    for name in unnamed_files(run):
        left = name.endswith(LEFTOVERS)
        if left or (unfinished and name.startswith(f"{CHECKPOINTS}/")):
            remove(run.path / name)
            yield f"{name}: removed, left by an interrupted process"
