"""The lock of a run folder: one process at a time works on a run.

The operating system frees it when its holder dies, however it dies; annotators and readers
need none.
"""

import errno
import os
import socket
import stat
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from superalign_env.errors import RecordError, RecordLocked
from superalign_env.store.database import disk_full, is_full

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = "run.lock"

_FAR = 1 << 20
"""Windows locks bytes, not files; a byte beyond the text leaves that readable."""

_ADVICE = "choose another folder, or see who may write there"


class RunLock:
    """Exclusive lock of a run folder, held from construction until `release`.

    It is two locks: of the folder itself, which nobody can replace unnoticed, and of
    ``run.lock`` in it, which holds between machines that share a network filesystem. Both
    belong to an open file, not to the process: reading the folder in this process keeps them.

    Raises:
        RecordLocked: names the process that works on the run.
        RecordError: the folder cannot be locked.
    """

    def __init__(self, folder: Path) -> None:
        # Not resolved: a link that leads elsewhere meanwhile is another folder.
        self._folder = Path(os.path.abspath(folder))
        self._file = self._directory = -1
        try:
            with in_words(folder, "lock"):
                self._identity = _identity(os.stat(self._folder))
                self._lock_directory()
                self._lock_file()
        except BaseException:
            self._close()
            raise
        _held.add(self)

    def require(self) -> None:
        """Raise unless the folder is still the one that was locked, and locked.

        A ``run.lock`` that somebody removed is made and locked again.

        Raises:
            RecordLocked: another process was faster.
            RecordError: the folder was moved, replaced or removed.
        """
        if self._file < 0:
            raise RecordError(f"this process does not hold the lock of {self._folder}")
        try:
            same = _identity(os.stat(self._folder)) == self._identity
        except OSError:
            same = False
        if not same:
            raise RecordError(
                f"{self._folder} was moved, replaced or removed while this process worked on "
                "it; nothing more is written: put it back and continue with --resume"
            )
        if not _is_at(self._file, self._folder / LOCK):
            with in_words(self._folder, "lock"):
                os.close(self._file)
                self._file = -1
                self._lock_file()

    def release(self) -> None:
        """Let others work on the run; twice does no harm."""
        if self._file >= 0:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
        self._close()

    def _lock_directory(self) -> None:
        if sys.platform == "win32":  # there, nobody can remove an open file
            return
        self._directory = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        if _seize(self._directory) is False:
            raise self._taken()

    def _lock_file(self) -> None:
        path = self._folder / LOCK
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        while True:
            self._file = os.open(path, flags, 0o666)
            seized = _seize(self._file)
            if seized is False:
                raise self._taken()
            if seized is None:
                raise RecordError(
                    f"{self._folder} lies on a filesystem that locks no files; mount it with "
                    "locks (Lustre: -o flock), or choose a run_dir elsewhere"
                )
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise RecordError(f"{path} is no plain file; remove it, and try again")
            if _is_at(self._file, path):
                break
            os.close(self._file)  # somebody removed it between the two
        with suppress(OSError):  # no room for a name: locked all the same
            os.ftruncate(self._file, 0)
            os.write(self._file, _name().encode())

    def _taken(self) -> RecordLocked:
        with suppress(OSError):
            holder = (self._folder / LOCK).read_text("utf-8", "replace")[:200].strip()
            if holder == _name():
                return RecordLocked(
                    f"this process (pid {os.getpid()}) already works on {self._folder}; "
                    "close that Run first, or open this one with readonly=True"
                )
            if holder:
                return self._taken_by(holder)
        return self._taken_by("another process")

    def _taken_by(self, holder: str) -> RecordLocked:
        return RecordLocked(
            f"{holder} works on {self._folder}; wait for it (who only reads needs no lock: "
            "readonly=True)"
        )

    def _close(self) -> None:
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1
        _held.discard(self)


_held: "weakref.WeakSet[RunLock]" = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Close the locks that a fork of this process inherited, which would outlive it there."""
    for lock in list(_held):
        lock._close()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_leave_to_parent)


def _seize(descriptor: int) -> bool | None:
    """Return whether an open file could be locked; None where its filesystem locks none."""
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        taken = error.errno in (
            errno.EWOULDBLOCK,
            errno.EAGAIN,
            errno.EACCES,
            errno.EDEADLK,
        )
        return False if taken else None
    return True


def _name() -> str:
    return f"pid {os.getpid()} on {socket.gethostname()}"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one that lies at a path."""
    try:
        return _identity(os.fstat(descriptor)) == _identity(os.lstat(path))
    except OSError:
        return False


@contextmanager
def in_words(path: Path, verb: str, *, advice: str = _ADVICE) -> Iterator[None]:
    """Turn the system's refusal into an error that says what to do.

    Args:
        path: the folder or file.
        verb: what cannot be done with it.
        advice: what to do instead.

    Raises:
        RecordFull: there is no room.
        RecordError: anything else.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # the latter of names that no system takes
        if is_full(error):
            raise disk_full(path) from error
        why = getattr(error, "strerror", None) or error
        raise RecordError(f"cannot {verb} {path}: {why}; {advice}") from error
