"""Worker processes with one pipe each: start, end, cause of death; and those that play blocks.

Not `concurrent.futures`: there one process that is killed takes along what all others
do, and one whose parent was killed waits for ever. What travels is pickled; it comes
through a pipe from a process that this one has started, and from nowhere else. The cells
of experiments are computed in processes that are started and ended here, too.
"""

import gc
import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Any, Protocol

from superalign_env.errors import InvalidOption, ProtocolError, WorkerLost
from superalign_env.rollout.blocks import Block, Plays

_PATIENCE = 10.0
"""Seconds that a process gets to end when it is told to."""

_GRACE = 2.0
"""Seconds that a process goes on after whoever started it has gone."""

# A fork of this very process would inherit threads that are gone and connections that
# are shared. A server that is forked instead saves every process half a second of imports.
# Elsewhere system libraries do not survive a fork.
_METHOD = "spawn"
if sys.platform == "linux" and "forkserver" in get_all_start_methods():
    _METHOD = "forkserver"


class WorkerProcess:
    """Handle of a process that plays, and its queue of blocks.

    Args:
        process: running `serve`.
        pipe: our end.
    """

    def __init__(self, process: BaseProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe
        self.blocks: deque[Block] = deque()
        self._has_answered = False

    def begin(self, packed: bytes) -> None:
        """Send the packed player."""
        self._send(b"player", packed)

    def give(self, block: Block) -> None:
        """Hand a block over. It reads at any time, so this never waits for its play."""
        self.blocks.append(block)
        self._send(b"block", pickle.dumps(block, pickle.HIGHEST_PROTOCOL))

    def take(self) -> bytes:
        """Return the results of its first block, for `opened`.

        Raises:
            WorkerLost: it has died.
        """
        try:
            answer = self.pipe.recv_bytes()
        except (EOFError, OSError) as error:
            raise WorkerLost(self._epitaph()) from error
        self._has_answered = True
        self.blocks.popleft()
        return answer

    def _send(self, *parts: bytes) -> None:
        with suppress(OSError):  # it is dead, which `take` finds out
            for part in parts:
                self.pipe.send_bytes(part)

    def _epitaph(self) -> str:
        why = "see above"
        if not self._has_answered:
            why = (
                "it never answered: see above, and mind that a script starts processes "
                'below if __name__ == "__main__": only'
            )
        end = ending(self.process, "use fewer workers or a smaller live", otherwise=why)
        return f"the process that played {self.blocks[0]} {end}"


def hired() -> WorkerProcess:
    """Start a process; it makes itself ready while others are started."""
    if _METHOD == "forkserver":
        # Of the whole program, and in vain where somebody has used the server before: only
        # time is lost then.
        get_context("forkserver").set_forkserver_preload([__name__])
    return WorkerProcess(
        *start_process(serve, dict(os.environ), method=_METHOD, daemon=True)
    )


def start_process(
    target: Callable[..., None], *args: Any, method: str, daemon: bool
) -> tuple[BaseProcess, Connection]:
    """Start a process and return it with our end of a pipe to it.

    Args:
        target: its main function, which takes its end of the pipe, then `args`, and calls
            `leave_ctrl_c` first.
        args: are pickled.
        method: of starting, by the name that `multiprocessing` has for it.
        daemon: whether it may have no processes of its own, and ends with this one.
    """
    context: Any = get_context(method)  # typed without Process where the method is a text
    ours, theirs = context.Pipe()
    process: BaseProcess = context.Process(
        target=target, args=(theirs, *args), daemon=daemon
    )
    with _uninterrupted():
        process.start()
    theirs.close()  # so that its end is closed when the process dies
    return process, ours


def leave_ctrl_c() -> None:
    """Leave Ctrl-C to the parent, in a process that `start_process` has started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def ending(process: BaseProcess, remedy: str, *, otherwise: str = "see above") -> str:
    """Wait for a process whose pipe has closed, and return how it ended.

    Args:
        process: started by `start_process`.
        remedy: what to do where memory was short.
        otherwise: why it may have ended, if nobody killed it.
    """
    process.join(_PATIENCE)
    killed = process.exitcode in (-9, -15)
    why = f"killed, perhaps for want of memory: {remedy}" if killed else otherwise
    return f"ended with exit code {process.exitcode} ({why})"


class _Piped(Protocol):
    @property
    def process(self) -> BaseProcess: ...
    @property
    def pipe(self) -> Connection: ...


def end(workers: Collection[_Piped], *, at_once: bool) -> None:
    """End processes: at once, or when they are done with what they do."""
    for worker in workers:
        worker.pipe.close()
        if at_once:
            worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach before they can ignore it themselves."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(pipe: Connection, environ: Mapping[str, str]) -> None:
    """Play blocks until the pipe closes: main function of the other process.

    Args:
        pipe: its end.
        environ: variables as they are now where it was started; a server that is forked
            knows older ones.
    """
    leave_ctrl_c()
    os.environ.update(environ)
    gc.freeze()  # what was imported is no garbage
    orders: SimpleQueue[bytes | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, orders), daemon=True).start()
    player: Plays[Any] | Exception = ProtocolError("nobody plays")
    while (order := orders.get()) is not None:
        load = orders.get()
        if load is None:
            break
        if order == b"player":
            player = ProtocolError("nobody plays")  # two at once may be too large
            player = _unpacked(load)
        else:
            answer = _answer(player, load)
            with suppress(OSError):  # nobody is there any more
                pipe.send_bytes(answer)


def opened(answer: bytes) -> list[Any]:
    """Return the results of a block.

    Raises:
        Exception: what has gone wrong there, with a note of where.
    """
    unpickler = pickle.Unpickler(io.BytesIO(answer))
    played: list[Any] = []
    while (item := unpickler.load()) is not None:
        if isinstance(item, Exception):
            raise item
        played.append(item)
    return played


def _listen(pipe: Connection, orders: "SimpleQueue[bytes | None]") -> None:
    """Queue messages of the parent at any time, and exit with it. Runs in a thread."""
    try:
        while True:
            orders.put(pipe.recv_bytes())
    except (EOFError, OSError):
        orders.put(None)
        time.sleep(_GRACE)
        os._exit(1)


def _unpacked(packed: bytes) -> Plays[Any] | Exception:
    try:
        player: Plays[Any] = pickle.loads(packed)
    except Exception as error:  # whatever a plug-in raises when it is unpickled
        return InvalidOption(
            f"another process cannot make what plays ({type(error).__name__}: {error}); "
            "define functions and classes in a module that it can import, not in a "
            'notebook, or use executor="local"'
        )
    torch = sys.modules.get("torch")
    if torch is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # the other cores have processes of their own
    return player


def _answer(player: Plays[Any] | Exception, load: bytes) -> bytes:
    try:
        if isinstance(player, Exception):
            raise player
        answer = io.BytesIO()
        # One for all of them: what episodes share travels once.
        pickler = pickle.Pickler(answer, pickle.HIGHEST_PROTOCOL)
        for played in player.stream(pickle.loads(load)):
            pickler.dump(played)  # at once, while it lies in the processor's cache
        pickler.dump(None)
        return answer.getvalue()
    except Exception as error:  # is raised again where the block came from
        error.add_note(f"in another process:\n{traceback.format_exc()}")
        return _packed(error)


def _packed(error: Exception) -> bytes:
    """Return an error as bytes; one that cannot be made again, as text."""
    try:
        packed = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        pickle.loads(packed)
    except Exception:  # its constructor wants something else
        plain = ProtocolError(f"{type(error).__name__}: {error}")
        plain.__notes__ = error.__notes__
        packed = pickle.dumps(plain, pickle.HIGHEST_PROTOCOL)
    return packed
