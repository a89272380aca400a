"""The lock of a run folder: one process at a time works on a run.

The operating system frees it when its process dies, however it dies. Annotators and
readers need no lock.
"""

import os
import socket
import sys
from pathlib import Path
from typing import IO

from superalign_env.errors import RecordLocked

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_held: dict[Path, int] = {}
"""Locks of this process, by pid: record locks do not exclude their own process."""

_FAR = 1 << 20
"""Windows locks bytes, not files; a byte beyond the text leaves that readable."""


class RunLock:
    """Held from construction until `release`.

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
            holder = _said_by(self._file)
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


def _said_by(file: IO[str]) -> str:
    file.seek(0)
    return file.read(200).strip() or "another process"
