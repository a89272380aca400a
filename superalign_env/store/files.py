"""Files of a run beside its database: named by the record, hashed, added, orphaned."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from superalign_env.canonical import from_json
from superalign_env.store.database import Database

OnBytes = Callable[[int, int], object]
"""Called with (bytes read, bytes in all) while files are hashed."""

STATE = "policy.json"
"""What a checkpoint says of itself, as the stage that left it does."""
MOMENTS = "optimizer.safetensors"
HEAD = "value_head.safetensors"

_BY_FIELD = {"optimizer": MOMENTS, "head": HEAD}
"""Field of a checkpoint that is the hash of one file in its folder → that file."""

_BLOCK = 1 << 20


def named_files(database: Database) -> set[str]:
    """Return every path that finished stages or agents name, relative to the run.

    Stages name files by the key ``path``, at any depth of what they leave.
    """
    return named_and_hashed(database)[0]


def named_and_hashed(database: Database) -> tuple[set[str], dict[str, str]]:
    """Return `named_files`, and path → hash of every file whose hash finished stages left.

    A memory has its ``hash``; a checkpoint names its ``files``, its ``optimizer`` and its
    ``head``.
    """
    paths = {path for (path,) in database.rows("SELECT path FROM agents WHERE path != ''")}
    named = list(_named(database))
    return paths | {one["path"] for one in named}, _hashes(named)


def unhashed_files(
    folder: Path, outputs: Mapping[str, Any], others: Iterable[str]
) -> list[str]:
    """Return the files below what a stage, or others, name and give no hash of.

    Args:
        folder: of the run.
        outputs: what the stage leaves.
        others: further paths, relative to the run.
    """
    named = list(_with_path(outputs))
    paths = {one["path"] for one in named} | set(others)
    found = {file for name in paths for file in _files_below(folder, name)}
    return sorted(found - set(_hashes(named)))


def _files_below(folder: Path, name: str) -> list[str]:
    """Return the files at and below a name, relative to the run; of other places none."""
    place, root = os.path.abspath(folder / name), os.path.abspath(folder)
    if not place.startswith(os.path.join(root, "")):
        return []
    try:
        paths = [Path(place), *Path(place).rglob("*")]
        return [path.relative_to(root).as_posix() for path in paths if path.is_file()]
    except OSError:  # a name that no system takes
        return []


def _hashes(outputs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    hashes_by_path: dict[str, str] = {}
    for named in outputs:
        path, files = named["path"], named.get("files")
        parts = {_BY_FIELD[key]: named.get(key) for key in _BY_FIELD}
        parts |= files if isinstance(files, Mapping) else {}
        hashes = {f"{path}/{name}": mark for name, mark in parts.items()}
        hashes[path] = named.get("hash")
        hashes_by_path |= {place: str(mark) for place, mark in hashes.items() if mark}
    return hashes_by_path


def sweep(database: Database, folder: str) -> list[str]:
    """Remove files in a folder of the run that no finished stage or agent names.

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
        remove(place)
        gone.append(name)
    return gone


def remove(place: Path) -> None:
    """Remove a file, a link or a folder."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()


def file_hashes(folder: Path) -> list[tuple[str, str]]:
    """Return the name and content hash of every file in a folder, by name."""
    return [
        (path.relative_to(folder).as_posix(), file_hash(path))
        for path in (sorted(folder.rglob("*")) if folder.is_dir() else [])
        if path.is_file()
    ]


def file_hash(path: Path, read: Callable[[int], object] | None = None) -> str:
    """Return 32 hex digits that name a file's content; it is never in memory as a whole.

    Args:
        path: of the file.
        read: called with the length of every block that was read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            if read is not None:
                read(len(block))
    return digest.hexdigest()


def _named(database: Database) -> Iterator[Mapping[str, Any]]:
    """Yield all that finished stages left under a ``path``, at any depth."""
    for (outputs,) in database.rows(
        "SELECT outputs FROM stages WHERE status = 'done' AND instr(outputs, '\"path\"')"
    ):
        yield from _with_path(from_json(outputs, dict[str, Any]))


def _with_path(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        path = value.get("path")
        if isinstance(path, str) and path:
            yield value
        for part in value.values():
            if not isinstance(part, _PLAIN):
                yield from _with_path(part)
    elif isinstance(value, list):
        for part in value:
            if not isinstance(part, _PLAIN):
                yield from _with_path(part)


_PLAIN = (str, int, float, type(None))
