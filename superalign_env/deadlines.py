"""Deadlines of calls: agents that hang are interrupted, or left behind.

In the main thread a thread beside it looks at the clock. When a call is overdue, it sends the
main thread a signal, whose handler raises `Late` in the agent's code. That ends Python code,
and whatever waits (sleep, sockets, locks). It does not end code that catches every exception,
or that holds the interpreter in C: then the process hangs, and one of
`superalign_env.Processes` ends itself, which is reported.

In other threads, and where there are no such signals, a call gets a thread of its own, which
is left behind when it is overdue: a thread cannot be ended from outside.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from types import FrameType
from typing import Any, TypeVar

_T = TypeVar("_T")

_PATIENCE = 1.0
"""Seconds between two looks at the clock, and between two signals to one call."""

_GRACE = 10.0
"""Seconds until a process that cannot be interrupted ends itself."""


class Late(BaseException):
    """A call that is overdue."""


class _Call:
    """A call in the main thread.

    Args:
        seconds: that it may take.
        outer: the call that it is part of.
    """

    __slots__ = ("deadline", "outer", "overdue", "seconds")

    def __init__(self, seconds: float, outer: "_Call | None") -> None:
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        if outer is not None:
            self.deadline = min(self.deadline, outer.deadline)
        self.outer = outer
        self.overdue = False


class _Watchdog:
    """Thread that signals the main thread when its call is overdue."""

    ends_process = False
    """Whether this process ends where the call cannot be interrupted."""

    def __init__(self, seconds: float) -> None:
        self.call: _Call | None = None
        self._seconds = seconds
        self.main = threading.get_ident()
        self._patience = _PATIENCE
        self._hurry = threading.Event()
        signal.signal(signal.SIGURG, self._raise_late)
        self._put_end_off()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def within(self, seconds: float, act: Callable[[Any], _T], argument: Any) -> _T:
        """Call ``act(shown)``.

        Raises:
            Late: it was interrupted.
        """
        outer = self.call
        if seconds < 4 * self._patience:
            self._patience = seconds / 4
            self._hurry.set()
        try:
            self.call = _Call(seconds, outer)
            try:
                return act(argument)
            finally:
                self.call = outer
        except Late:  # it may come so late that the line above was not reached
            self.call = outer
            raise

    def _raise_late(self, number: int, frame: FrameType | None) -> None:
        if self.call is not None and self.call.overdue:
            raise Late

    def _put_end_off(self) -> None:
        """Put the end of this process off: it comes when no thread gets its turn any more."""
        if self.ends_process:
            with suppress(Exception):  # without a stderr that is a file
                faulthandler.dump_traceback_later(self._seconds + _GRACE, exit=True)

    def _watch(self) -> None:
        while True:
            if self._hurry.wait(self._patience):
                self._hurry.clear()
            call = self.call
            if call is not None and call.seconds > self._seconds:
                self._seconds = call.seconds
            self._put_end_off()
            overdue = 0.0 if call is None else time.monotonic() - call.deadline
            if call is None or overdue <= 0.0:
                continue
            call.overdue = True
            signal.pthread_kill(self.main, signal.SIGURG)
            if self.ends_process and overdue > _GRACE:
                print(
                    f"an agent gave no reply within {call.seconds:g} s and cannot be "
                    "interrupted: this process ends",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(1)


_watchdogs: list[_Watchdog] = []
"""The one of this process, once there is one."""


def end_process_if_stuck() -> None:
    """Let another process of a rollout end where a call cannot be interrupted."""
    _Watchdog.ends_process = parent_process() is not None


def act_within(
    seconds: float, act: Callable[[Any], _T], argument: Any, *, agent: object
) -> _T:
    """Call ``act(shown)``; in the main thread that costs next to nothing.

    Args:
        seconds: that it may take.
        act: of the agent.
        argument: its argument.
        agent: whose call it is; where it was left behind in a thread, it gets no other.

    Raises:
        Late: it took longer.
    """
    if _watchdogs and threading.get_ident() == _watchdogs[0].main:
        return _watchdogs[0].within(seconds, act, argument)
    if threading.current_thread() is threading.main_thread() and _can_signal():
        _watchdogs[:] = [_Watchdog(seconds)]
        return _watchdogs[0].within(seconds, act, argument)
    return _in_thread(seconds, act, argument, agent)


def _can_signal() -> bool:
    """Return whether there is such a signal, and nobody else listens to it."""
    if not hasattr(signal, "SIGURG") or not hasattr(signal, "pthread_kill"):
        return False
    return signal.getsignal(signal.SIGURG) in (signal.SIG_DFL, signal.SIG_IGN)


_hung: dict[int, threading.Thread] = {}
"""Threads that were left behind, by agent."""


def _in_thread(
    seconds: float, act: Callable[[Any], _T], argument: Any, agent: object
) -> _T:
    earlier = _hung.get(id(agent))
    if earlier is not None and earlier.is_alive():
        raise Late
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.extend((True, act(argument)))
        except BaseException as error:
            outcome.extend((False, error))

    # Not a pool: the interpreter would wait for a pool's hanging thread at exit.
    thread = threading.Thread(target=call, name="act", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        _hung[id(agent)] = thread
        raise Late
    _hung.pop(id(agent), None)
    returned, value = outcome
    if not returned:
        raise value
    result: _T = value
    return result


def _forget() -> None:
    """Begin anew in a forked process, which has no other thread."""
    if _watchdogs:
        _watchdogs.clear()
        signal.signal(signal.SIGURG, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
