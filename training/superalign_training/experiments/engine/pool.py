"""Compute cells: in this process, or in several with one pipe each.

Where a process dies (out of memory), exactly its cell has failed, and no process outlives
the parent. Starting, ending and the cause of death are those of rollouts' processes; what
travels here is JSON, for the record, and a cell may start processes of its own.
"""

import gc
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidOption
from superalign_env.rollout.worker_process import (
    end,
    ending,
    leave_ctrl_c,
    start_process,
)
from superalign_training.experiments.engine.experiment import CellContext
from superalign_training.experiments.engine.plan import Job

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

OnBegin = Callable[[Job], object]
OnProgress = Callable[[Job, float], object]
"""(the cell, the share of it that is done)."""


class CellResult(NamedTuple):
    """The values of one cell, its time and cost, or its error."""

    values: dict[str, Any]
    seconds: float = 0.0
    cost: dict[str, float] = {}  # noqa: RUF012 - a named tuple's default, never changed
    error: str = ""
    """The trace, if it failed."""

    @property
    def complaint(self) -> str:
        """The last line of the trace."""
        return (self.error.strip().splitlines() or [""])[-1]


class CellRunner(NamedTuple):
    """The function of an experiment's cells and where they work."""

    cell: Callable[[Mapping[str, Any], int, CellContext], Mapping[str, Any]]
    root: str
    """Folder of the experiment."""
    scope: str
    """Experiment, revision and code: what shared folders belong to."""

    def compute(self, job: Job, *, on_progress: Callable[[float], object]) -> CellResult:
        """Compute one cell; an exception is its result."""
        context = CellContext(
            Path(self.root), job.hash, scope=self.scope, on_progress=on_progress
        )
        since, cpu = time.perf_counter(), time.process_time()
        values, error = {}, ""
        try:
            with one_thread():
                values = plain_values(self.cell(job.params, job.seed, context))
        except Exception:
            error = traceback.format_exc()
        cost = {"cpu-seconds": round(time.process_time() - cpu, 3), **context.spent}
        return CellResult(values, round(time.perf_counter() - since, 3), cost, error)


def compute_cells(
    runner: CellRunner,
    jobs: Sequence[Job],
    *,
    workers: int,
    on_begin: OnBegin,
    on_progress: OnProgress,
) -> Generator[tuple[Job, CellResult], None, None]:
    """Compute cells and yield them as they are done.

    Args:
        runner: computes each of them.
        jobs: which cells.
        workers: processes; with 1, cells are computed in this one.
        on_begin: called when a cell begins.
        on_progress: called when a cell reports progress.

    Raises:
        InvalidOption: the cell's function cannot be imported by another process.
    """
    if workers > 1:
        require_importable(runner)
        return _in_processes(runner, jobs, workers, on_begin, on_progress)
    return _in_turn(runner, jobs, on_begin, on_progress)


def _in_turn(
    runner: CellRunner, jobs: Iterable[Job], on_begin: OnBegin, on_progress: OnProgress
) -> Generator[tuple[Job, CellResult], None, None]:
    for job in jobs:
        on_begin(job)
        yield job, runner.compute(job, on_progress=partial(on_progress, job))


def _in_processes(
    runner: CellRunner,
    jobs: Sequence[Job],
    workers: int,
    on_begin: OnBegin,
    on_progress: OnProgress,
) -> Generator[tuple[Job, CellResult], None, None]:
    waiting = deque(jobs)
    busy: dict[Connection, tuple[CellProcess, Job]] = {}
    idle: list[CellProcess] = []
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                process = idle.pop() if idle else CellProcess.start(runner)
                job = waiting.popleft()
                busy[process.pipe] = process, job
                on_begin(job)
                process.send(job)
            for pipe in connection.wait(list(busy)):
                process, job = busy[pipe]  # type: ignore[index] # typed for any handle
                answer = process.receive()
                if isinstance(answer, float):
                    on_progress(job, answer)
                    continue
                del busy[process.pipe]
                if answer is None:
                    answer = process.epitaph()
                else:
                    idle.append(process)
                yield job, answer
    finally:
        end([*idle, *(process for process, _ in busy.values())], at_once=True)


class CellProcess(NamedTuple):
    """Another process that computes cells, and the pipe to it."""

    process: BaseProcess
    pipe: Connection

    @classmethod
    def start(cls, runner: CellRunner) -> "CellProcess":
        """Start a process."""
        with _single_threads():
            return cls(*start_process(serve, runner, method="spawn", daemon=False))

    def send(self, job: Job) -> None:
        """Hand a cell over; `receive` notices a process that is dead already."""
        with suppress(OSError):
            self.pipe.send_bytes(to_json(job))

    def receive(self) -> CellResult | float | None:
        """Return the result, or the share that is done; None when the process died."""
        try:
            raw = self.pipe.recv_bytes()
            if raw[:1] == b"[":
                return from_json(raw, CellResult)
            return from_json(raw, float)
        except (EOFError, OSError):
            return None

    def epitaph(self) -> CellResult:
        """Return the result of a cell whose process died."""
        how = ending(self.process, "fewer --jobs")
        end([self], at_once=True)
        return CellResult({}, error=f"the process of this cell {how}")


def serve(pipe: Connection, runner: CellRunner) -> None:
    """Compute cells until the pipe closes. Runs in the other process."""
    leave_ctrl_c()
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def report(share: float) -> None:
        pipe.send_bytes(to_json(share))

    gc.freeze()  # trainers collect garbage at every end; what was imported is none
    try:
        while True:
            job = from_json(pipe.recv_bytes(), Job)
            pipe.send_bytes(to_json(runner.compute(job, on_progress=report)))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def require_importable(runner: CellRunner) -> None:
    """Raise unless another process can import the cell's function.

    Raises:
        InvalidOption: it was typed into a notebook, or stands inside a function.
    """
    module, name = runner.cell.__module__, runner.cell.__qualname__
    if module == "__main__" or "<" in name:
        raise InvalidOption(
            f"other processes cannot import {module}.{name}: move the cell to the top of a "
            "module, or use --jobs 1"
        )


def plain_values(values: Any) -> dict[str, Any]:
    """Return a cell's values as they come back from the record.

    Raises:
        InvalidOption: no mapping of plain JSON values.
    """
    try:
        return from_json(to_json(values), dict[str, Any])
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"a cell returns a dict of plain, finite JSON values (float(x) for numpy's): {error}"
        ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread within: sums are added in the same order everywhere."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    if torch:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(before)


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
