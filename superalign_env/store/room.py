"""A disk without room, said in our words, whoever noticed it."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from superalign_env.errors import RecordFull

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_TOLD = re.compile(r"os error (\d+)")
"""How libraries written in Rust (safetensors, tokenizers) quote the system."""


def no_room(path: Path) -> RecordFull:
    """Return the error that says what did not fit, and what to do."""
    return RecordFull(
        f"no room left for {path}: what was written before is kept; free some space and "
        "continue with --resume"
    )


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn the error of a full disk, in whatever words, into ours.

    Args:
        path: what is being written.

    Raises:
        RecordFull: there was no room for it.
    """
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise no_room(path) from error
        raise


def is_full(error: BaseException) -> bool:
    """Return whether an error says that the disk, or one's share of it, is full."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    told = _TOLD.search(str(error))
    return told is not None and int(told[1]) in _NO_ROOM
