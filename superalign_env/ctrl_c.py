"""Ctrl-C while the console script imports, or no folder to import in: one line, no traceback.

The package imports this before anything else, and only in the console script does it have
an effect: wherever else the package is imported, signals are none of its business.
"""

import os
import signal
import sys
import threading
from pathlib import PurePath
from types import FrameType

CTRL_C = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""

MISUSED = 2

NO_FOLDER = "the working folder was removed; cd to one that is there"

BEFORE_ANYTHING = "stopped before anything was begun"


def hear_ctrl_c() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again: from here on somebody catches it."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    # An exception could come out of any import, and some libraries swallow it there.
    os.write(2, f"\n{BEFORE_ANYTHING}\n".encode())
    os._exit(CTRL_C)


def _is_console_script() -> bool:
    # Not sys.argv, which worker processes inherit. On Windows it is superalign.exe/__main__.py.
    path = PurePath(str(getattr(sys.modules["__main__"], "__file__", None) or ""))
    return "superalign" in (path.stem, path.parent.stem)


def _require_folder() -> None:
    """End where the working folder was removed, which some libraries read at their import."""
    try:
        os.getcwd()
    except OSError:
        os.write(2, f"superalign: {NO_FOLDER}\n".encode())
        os._exit(MISUSED)


if _is_console_script():
    _require_folder()

if (
    _is_console_script()
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _leave)
