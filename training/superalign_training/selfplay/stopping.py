"""SIGTERM handling: an interrupt like Ctrl-C, with another exit code."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from superalign_env.ctrl_c import CTRL_C

REQUEUE = getattr(os, "EX_TEMPFAIL", 75)
"""Exit code after SIGTERM: "temporary failure, try again" (sysexits.h). The same command
with ``--resume`` continues the run."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received."""


def exit_code(stop: BaseException | None) -> int:
    """Return the exit code of a stopped process.

    Args:
        stop: what stopped it, or was raised from that.
    """
    while stop is not None:
        if isinstance(stop, Terminated):
            return int(REQUEUE)
        stop = stop.__cause__ or stop.__context__ or stop.__context__
    return CTRL_C


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C within the context, once; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    # What is being saved now must not be interrupted by a second one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
