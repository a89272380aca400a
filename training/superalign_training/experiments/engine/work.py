"""A cell is computed: here, one after the other. `workers` does it in many processes."""

import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidOption
from superalign_training.experiments.engine.bench import Bench
from superalign_training.experiments.engine.plan import Job


class Told(Protocol):
    """Who is told of cells that begin and get on."""

    def begin(self, job: Job) -> object:
        """A cell begins."""
        ...

    def step(self, job: Job, share: float) -> object:
        """So much of a cell is done."""
        ...


class Task(NamedTuple):
    """What all cells of a call have in common."""

    cell: Callable[[Mapping[str, Any], int, Bench], Mapping[str, Any]]
    root: str
    """Folder of the experiment."""
    scope: str
    """Experiment and revision: what shared things belong to."""


class Answer(NamedTuple):
    """What came of a cell."""

    result: dict[str, Any]
    seconds: float = 0.0
    cost: dict[str, float] = {}  # noqa: RUF012 - a named tuple's default, never changed
    error: str = ""
    """The trace, if it failed."""

    @property
    def complaint(self) -> str:
        """The last line of the trace."""
        return complaint(self.error)


def complaint(error: str) -> str:
    """Return the last line of a trace."""
    return (error.strip().splitlines() or [""])[-1]


def compute(task: Task, job: Job, *, told: Callable[[float], object]) -> Answer:
    """Compute one cell; what it raises is its answer."""
    bench = Bench(Path(task.root), job.hash, scope=task.scope, told=told)
    since, cpu = time.perf_counter(), time.process_time()
    result, error = {}, ""
    try:
        with one_thread():
            result = plain_result(task.cell(job.params, job.seed, bench))
    except Exception:
        error = traceback.format_exc()
    cost = {"cpu-seconds": round(time.process_time() - cpu, 3), **bench.spent}
    return Answer(result, round(time.perf_counter() - since, 3), cost, error)


def in_turn(
    task: Task, jobs: Iterable[Job], *, told: Told
) -> Generator[tuple[Job, Answer], None, None]:
    """Compute cells in this process, one after the other."""
    for job in jobs:
        told.begin(job)
        yield job, compute(task, job, told=partial(told.step, job))


def plain_result(values: Any) -> dict[str, Any]:
    """Return what a cell returned, as it comes back from the record.

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
