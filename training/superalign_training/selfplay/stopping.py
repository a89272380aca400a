"""SIGTERM and SIGHUP handling: an interrupt like Ctrl-C, with another exit code.

What is being saved after the first of these signals is not interrupted by a second one.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from superalign_env.ctrl_c import CTRL_C

_STOPS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)

REQUEUE = getattr(os, "EX_TEMPFAIL", 75)
"""Exit code after SIGTERM or SIGHUP: "temporary failure, try again" (sysexits.h). The same command
with ``--resume`` continues the run."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received."""


def exit_code(stop: BaseException | None) -> int:
    """Return the exit code of a stopped process.

    Args:
        stop: what stopped it, or was raised from that.
    """
    while stop is not None:
        if isinstance(stop, Terminated):
            return int(REQUEUE)
        stop = stop.__cause__ or stop.__context__
    return CTRL_C


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP as Ctrl-C within the context, once; only in the main thread.

    A second Ctrl-C is answered by a line, a third one kills. A process that was started
    deaf to one of them (``nohup``) stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Within another such block there is nothing to replace: what stopped it stays answered
    # while the outer one saves.
    handlers = {number: signal.getsignal(number) for number in _STOPS}
    replaced = {
        number: handler
        for number, handler in handlers.items()
        if handler in (signal.SIG_DFL, signal.default_int_handler)
    }
    for number in replaced:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    for other in _STOPS:
        if signal.getsignal(other) is _interrupt:
            signal.signal(other, _insisted if other == signal.SIGINT else signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _insisted(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.write(2, b"\nsaving what is finished; Ctrl-C again ends at once\n")
