"""Integrity of the files of a run: missing, added or altered since they were written."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from superalign_env.canonical import content_hash, text_hash
from superalign_env.store.files import OnBytes, file_hash, named_and_hashed
from superalign_env.store.run import Run
from superalign_env.store.seals import CHECKPOINTS

_OWN = frozenset({"run.db", "run.db-wal", "run.db-shm", "run.db-journal", "run.lock"})

_LOGS = "logs of another library"

NOT_SEALED = {
    "tensorboard": _LOGS,
    "trackio.id": _LOGS,
    "wandb": _LOGS,
    "wandb.id": _LOGS,
    # Of experiments.
    "cells": "validate the runs in it one by one",
    "shared": "made again when it is gone",
    "errors.txt": "traces that the table of cells holds, too",
}
"""Files and folders of a run that have no hash, and why."""

LEFTOVERS = (".partial", ".tmp")
"""Ends of names of files that are being written."""

PAGES = ("report.html", "comparison.html")
"""Made from the record at any time, even where it cannot be written: each has its own seal."""

_NAMED = 5
"""How many names a sentence lists."""


class Problem(NamedTuple):
    """One thing that is wrong with a run."""

    kind: str
    """``database``, ``table``, ``schema``, ``reference``, ``episode``, ``signals``, ``stage``, ``seal``,
    ``digest``, ``file``, ``checkpoint``, or the name of another table."""
    what: str
    advice: str = ""
    """What to do about it."""


def listed(names: Sequence[str]) -> str:
    """Return some names, and the number of the others."""
    shown = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown


_RESTORE = "restore it from a copy of the run"
_LEFT = "`superalign doctor` removes what an interrupted process left"


def file_problems(run: Run, progress: OnBytes | None = None) -> Iterator[Problem]:
    """Yield what is wrong with the files of a run.

    Args:
        run: opened, to read at least.
        progress: is called with (bytes read, bytes in all) while files are hashed.

    Raises:
        ValueError: what stages left cannot be read.
    """
    files = _Files(run)
    yield from files.journal()
    yield from files.missing()
    yield from files.altered(progress)
    yield from files.added()
    yield from files.forged()


def unnamed_files(run: Run) -> list[str]:
    """Return the files and folders that the record does not name, relative to the run.

    Raises:
        ValueError: what stages left cannot be read.
    """
    return _Files(run).unnamed()


class _Files:
    """The files of a run, and those that its record names."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._named, left = named_and_hashed(run.database)
        self._marks = {**left, **run.files.all()}

    def journal(self) -> Iterator[Problem]:
        """Yield a rollback journal: whoever opens the record to write plays it back."""
        if self._size("run.db-journal") and self._run.info.status != "running":
            what = "run.db-journal would change the record when it is opened to write"
            advice = "`superalign doctor` plays it back and checks what comes of it"
            yield Problem("file", what, advice)

    def missing(self) -> Iterator[Problem]:
        """Yield files and folders that the record names and that are not there."""
        gone = {name for name in self._named if not self._there(name)}
        for name in sorted(gone | {n for n in self._marks if not self._there(n)}):
            if not any(name.startswith(f"{folder}/") for folder in gone):
                what = f"{name} is missing, and the record names it"
                yield Problem(_kind(name), what, _restore(name))

    def altered(self, progress: OnBytes | None) -> Iterator[Problem]:
        """Compare files with their hashes, as a stream: a checkpoint may be larger than memory."""
        sizes = {name: self._size(name) for name in self._marks}
        done, total = 0, sum(sizes.values())

        def read(length: int) -> None:
            nonlocal done
            done += length
            if progress is not None:
                progress(done, total)

        for name in sorted(self._marks):
            if (self._run.path / name).is_symlink():
                what = f"{name} is a link now, and what it points at may change"
                yield Problem(_kind(name), what, _restore(name))
                continue
            try:
                _require_plain(self._run.path / name)
                digest_now = file_hash(self._run.path / name, read)
            except FileNotFoundError:  # told by `missing`
                continue
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                yield Problem(_kind(name), f"{name} cannot be read: {why}", _restore(name))
                continue
            if digest_now != self._marks[name]:
                what = f"{name} was altered after it was written"
                yield Problem(_kind(name), what, _restore(name))

    def added(self) -> Iterator[Problem]:
        """Yield files that the record does not name; while a stage runs they may be its."""
        busy = any(stage.status != "done" for stage in self._run.stages.all())
        for name in self.unnamed():
            if busy and name.startswith(f"{CHECKPOINTS}/"):
                continue
            what = f"{name} was added, and the record does not name it"
            left = name.endswith(LEFTOVERS)
            advice = _LEFT if left else f"move {name} out of the folder, or delete it"
            yield Problem(_kind(name), what, advice)

    def forged(self) -> Iterator[Problem]:
        """Yield pages that are not as they were made."""
        for name in PAGES:
            place = self._run.path / name
            try:
                _require_plain(place)
                raw = b"" if place.is_symlink() else place.read_bytes()
            except FileNotFoundError:
                continue
            except OSError:  # a folder of its name
                raw = b""
            if not _is_sealed_page(raw, _identity(self._run)):
                what = f"{name} is not as it was made, or of another run"
                yield Problem("file", what, "`superalign report` makes it anew")

    def unnamed(self) -> list[str]:
        """Return what the record does not name: whole folders, where nothing of use is below."""
        # Below these lie files without hashes of their own.
        whole = {
            name
            for name in self._named - set(self._marks)
            if not any(mark.startswith(f"{name}/") for mark in self._marks)
        }
        known = _OWN | set(PAGES) | set(self._marks) | whole
        unknown = [
            name
            for name in _leaves(self._run.path)
            if name not in known
            and name.partition("/")[0] not in NOT_SEALED
            and not any(name.startswith(f"{folder}/") for folder in whole)
        ]
        used = {place for name in known for place in _above(name)} | {CHECKPOINTS}
        return sorted({_topmost(name, used) for name in unknown})

    def _there(self, name: str) -> bool:
        return os.path.lexists(self._run.path / name)

    def _size(self, name: str) -> int:
        try:
            return (self._run.path / name).stat().st_size
        except (OSError, ValueError):
            return 0


def sealed_page(page: str, run: Run) -> str:
    """Return a page with a hash over it and the identity of its run, in a last line."""
    return f"{page}{_PAGE_SEAL}{text_hash(_identity(run) + page)} -->\n"


def _identity(run: Run) -> str:
    info = run.info
    return content_hash([info.id, info.kind, info.parent, info.seed, info.revision])


_PAGE_SEAL = "<!-- sealed: "


def _is_sealed_page(raw: bytes, identity: str) -> bool:
    page, mark, seal = raw.rpartition(_PAGE_SEAL.encode())
    digest = hashlib.blake2b(identity.encode() + page, digest_size=16).hexdigest()
    return bool(mark) and seal == f"{digest} -->\n".encode()


def _require_plain(place: Path) -> None:
    """Raise for a pipe or a device, whose reading may never end."""
    mode = place.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is no plain file")


def _leaves(root: Path) -> Iterator[str]:
    """Yield files, links and empty folders below a folder, relative to it."""
    for place, folders, files in os.walk(root):
        here = Path(place).relative_to(root).as_posix()
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        if not folders and not files and here != ".":
            yield here
        for name in (*files, *links):
            yield name if here == "." else f"{here}/{name}"


def _above(name: str) -> list[str]:
    """Return the folders that a file lies in, the outermost first."""
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _topmost(name: str, used: set[str]) -> str:
    """Return the outermost folder around a file that holds nothing of use, else the file."""
    return next((place for place in _above(name) if place not in used), name)


def _kind(name: str) -> str:
    return "checkpoint" if name.startswith(f"{CHECKPOINTS}/") else "file"


def _restore(name: str) -> str:
    if name.startswith("summary."):
        return "restore it, or let `superalign train --resume` write it anew"
    if name == "config.yaml":
        return f"{_RESTORE}, or write it anew from the record with `superalign doctor`"
    return _RESTORE
