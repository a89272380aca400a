"""The files of a run beside its database: what the record names, and what nobody does."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from superalign_env.canonical import from_json
from superalign_env.store.database import Database


def named_files(database: Database) -> set[str]:
    """Return every path that finished stages or agents name, relative to the run.

    Stages name files by the key ``path``, at any depth of what they leave.
    """
    found = {path for (path,) in database.rows("SELECT path FROM agents WHERE path != ''")}
    for (outputs,) in database.rows("SELECT outputs FROM stages WHERE status = 'done'"):
        found |= set(_paths(from_json(outputs, dict[str, Any])))
    return found


def sweep(database: Database, folder: str) -> list[str]:
    """Remove what lies in a folder of the run and is named by no finished stage or agent.

    Returns:
        What went, relative to the run.
    """
    run = database.path.parent
    kept = named_files(database)
    gone = []
    for place in sorted((run / folder).iterdir()) if (run / folder).is_dir() else []:
        name = place.relative_to(run).as_posix()
        if any(path == name or path.startswith(f"{name}/") for path in kept):
            continue
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()
        gone.append(name)
    return gone


def file_hashes(folder: Path) -> list[tuple[str, str]]:
    """Return the name and content hash of every file in a folder, by name."""
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if path.is_file():
            with path.open("rb") as file:
                mark = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            found.append((path.relative_to(folder).as_posix(), mark.hexdigest()))
    return found


def _paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        found = value.get("path")
        if isinstance(found, str) and found:
            yield found
        for part in value.values():
            yield from _paths(part)
    elif isinstance(value, list):
        for part in value:
            yield from _paths(part)
