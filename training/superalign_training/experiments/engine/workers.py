"""Cells side by side: processes of our own, one pipe each.

Not `concurrent.futures`: there a process that dies (out of memory) takes the cells of all
others with it, and one whose parent was killed lives on. Here exactly the cell of the dead
process has failed, and nobody outlives the parent.
"""

import gc
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidOption
from superalign_training.experiments.engine.plan import Job
from superalign_training.experiments.engine.work import Answer, Task, Told, compute

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_PATIENCE = 10.0
"""Seconds that a process gets to end by itself."""


class Worker(NamedTuple):
    """A process that computes cells."""

    process: SpawnProcess
    pipe: Connection

    def give(self, job: Job) -> None:
        """Hand a cell over; a process that is dead already is found out by `take`."""
        with suppress(OSError):
            self.pipe.send_bytes(to_json(job))

    def take(self) -> Answer | float | None:
        """Return the answer, or how much is done; None when the process died instead."""
        try:
            raw = self.pipe.recv_bytes()
            return from_json(raw, Answer) if raw[:1] == b"[" else from_json(raw, float)
        except (EOFError, OSError):
            return None

    def end(self) -> None:
        """End the process, kindly first."""
        self.pipe.close()
        self.process.terminate()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def side_by_side(
    task: Task, jobs: Sequence[Job], *, told: Told, workers: int
) -> Generator[tuple[Job, Answer], None, None]:
    """Compute cells in several processes; yields them as they are done.

    Raises:
        InvalidOption: the cell's function cannot be imported by another process.
    """
    require_importable(task)
    waiting = deque(jobs)
    busy: dict[Connection, tuple[Worker, Job]] = {}
    idle: list[Worker] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                worker = idle.pop() if idle else _hire(task)
                job = waiting.popleft()
                busy[worker.pipe] = worker, job
                told.begin(job)
                worker.give(job)
            for pipe in connection.wait(list(busy)):
                worker, job = busy[pipe]  # type: ignore[index] # typed for any handle
                answer = worker.take()
                if isinstance(answer, float):
                    told.step(job, answer)
                    continue
                del busy[worker.pipe]
                if answer is None:
                    answer = _epitaph(worker)
                else:
                    idle.append(worker)
                yield job, answer
    finally:
        for worker in [*idle, *(one for one, _ in busy.values())]:
            worker.end()


def require_importable(task: Task) -> None:
    """Raise unless another process can find the cell's function.

    Raises:
        InvalidOption: it was typed into a notebook, or stands inside a function.
    """
    module, name = task.cell.__module__, task.cell.__qualname__
    if module == "__main__" or "<" in name:
        raise InvalidOption(
            f"other processes cannot import {module}.{name}: move the cell to the top of a "
            "module, or use --jobs 1"
        )


def _hire(task: Task) -> Worker:
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(task, theirs))
    with _single_threads():
        process.start()
    theirs.close()  # so that its end is closed when the process dies
    return Worker(process, ours)


def _epitaph(worker: Worker) -> Answer:
    worker.end()
    code = worker.process.exitcode
    why = "killed, perhaps for want of memory: fewer --jobs" if code == -9 else "see above"
    return Answer({}, error=f"the process of this cell ended with exit code {code} ({why})")


@contextmanager
def _single_threads() -> Iterator[None]:
    """Start processes whose numerical libraries have one thread from their import on."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def serve(task: Task, pipe: Connection) -> None:
    """Compute cells until nobody asks any more: what runs in the other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def told(share: float) -> None:
        pipe.send_bytes(to_json(share))

    gc.freeze()  # trainers collect garbage at every end; what was imported is none
    try:
        while True:
            job = from_json(pipe.recv_bytes(), Job)
            pipe.send_bytes(to_json(compute(task, job, told=told)))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
