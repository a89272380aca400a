"""Progress of an experiment: a bar at a terminal, a line a cell elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from superalign_env.cli.output import Screen, console, say, say_line
from superalign_env.measures import mean
from superalign_env.plain_text import inline, one_line
from superalign_training.experiments.engine.plan import Job
from superalign_training.experiments.engine.pool import CellResult


class CellWatcher:
    """Listens to the progress of an experiment; this one does nothing."""

    def start(self, jobs: Sequence[Job], *, cached: int, workers: int) -> None:
        """Take the cells that will be computed, and how many are known already."""

    def begin(self, job: Job) -> None:
        """Take a cell that begins."""

    def step(self, job: Job, share: float) -> None:
        """Take the share of a cell that is done, in [0, 1]."""

    def end(self, job: Job, result: CellResult) -> None:
        """Take a cell that is done, or has failed."""

    def say(self, text: str) -> None:
        """Take a remark for people."""


class CellLines(CellWatcher):
    """A line for every cell, for logs and pipes.

    Args:
        write: takes a line.
    """

    def __init__(self, write: Callable[[str], object] = say_line) -> None:
        self._write = write
        self._time = TimeLeft((), 1)
        self._done = self._total = 0

    def start(self, jobs: Sequence[Job], *, cached: int, workers: int) -> None:
        """Write how many cells will be computed."""
        self._time = TimeLeft(jobs, workers)
        self._total = len(jobs)
        self._write(f"{len(jobs)} cells to compute, {cached} found")

    def end(self, job: Job, result: CellResult) -> None:
        """Write the numbers of a cell and the time that is left."""
        self._time.take(job, result.seconds)
        self._done += 1
        remaining = ""
        if self._done < self._total:
            remaining = f", about {span(self._time.left())} left"
        self._write(f"[{self._done}/{self._total}] {line_of(job, result)}{remaining}")

    def say(self, text: str) -> None:
        """Write a remark for people."""
        self._write(inline(text))


class CellBar(CellWatcher):
    """A bar over the cells, with a line for each that is done. Used as a context manager.

    Args:
        console: where to.
        clock: seconds, for the time that is left.
    """

    def __init__(
        self, console: Screen, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._clock = clock
        self._since: dict[str, float] = {}
        self._time = TimeLeft((), 1)
        self._running: dict[str, str] = {}
        self._task: TaskID | None = None
        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} cells", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} {task.fields[running]}", markup=False),
            console=console,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def start(self, jobs: Sequence[Job], *, cached: int, workers: int) -> None:
        """Show the bar."""
        self._time = TimeLeft(jobs, workers)
        total = len(jobs) + cached
        self._task = self._progress.add_task(
            "", total=total, completed=cached, left="", running=""
        )

    def begin(self, job: Job) -> None:
        """Show a running cell."""
        self._running[job.hash] = f"{job.condition} {job.seed}"
        self._since[job.hash] = self._clock()
        self._show(advance=0)

    def step(self, job: Job, share: float) -> None:
        """Show the share of a cell that is done."""
        self._running[job.hash] = f"{job.condition} {job.seed} {share:.0%}"
        self._time.step(job, share, self._clock() - self._since[job.hash])
        self._show(advance=0)

    def end(self, job: Job, result: CellResult) -> None:
        """Print the numbers of a cell and advance the bar."""
        self._time.take(job, result.seconds)
        self._running.pop(job.hash, None)
        self._since.pop(job.hash, None)
        self.say(line_of(job, result))
        self._show(advance=1)

    def say(self, text: str) -> None:
        """Print a remark for people."""
        say("{}", text, to=self._console)

    def _show(self, *, advance: int) -> None:
        if self._task is None:
            return
        remaining = self._time.left()
        self._progress.update(
            self._task,
            advance=advance,
            left="" if remaining is None else f"about {span(remaining)} left",
            running=one_line(", ".join(self._running.values()), 48),
        )


@contextmanager
def watched() -> Iterator[CellWatcher]:
    """Watch with a bar at a terminal, with lines elsewhere."""
    if not console.is_terminal:
        yield CellLines()
        return
    with CellBar(console) as bar:
        yield bar


class TimeLeft:
    """Estimate of the time that unfinished cells take: as long as others of their condition.

    Before any is done, one that reports its progress stands for them.
    """

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        self._left = {job.hash: job.condition for job in jobs}
        self._workers = workers
        self._seconds: dict[str, list[float]] = {}
        self._shares: dict[str, float] = {}
        self._guess: float | None = None

    def take(self, job: Job, seconds: float) -> None:
        """Take the time of a cell that is done."""
        self._left.pop(job.hash, None)
        self._shares.pop(job.hash, None)
        self._seconds.setdefault(job.condition, []).append(seconds)

    def step(self, job: Job, share: float, seconds: float) -> None:
        """Take the time of a cell of which a share is done."""
        self._shares[job.hash] = share
        self._guess = seconds / share

    def left(self) -> float | None:
        """Return the seconds that are left; None before anything was measured."""
        if not self._seconds and self._guess is None:
            return None
        measured = [s for seconds in self._seconds.values() for s in seconds]
        overall = mean(measured).value if measured else self._guess or 0.0
        expected: Mapping[str, float] = {
            condition: mean(seconds).value for condition, seconds in self._seconds.items()
        }
        total = sum(
            expected.get(condition, overall) * (1.0 - self._shares.get(name, 0.0))
            for name, condition in self._left.items()
        )
        return total / max(1, min(self._workers, len(self._left)))


def span(seconds: float | None) -> str:
    """Return a time as a person says it."""
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def line_of(job: Job, result: CellResult) -> str:
    """Return a cell that is done as a line: its numbers, or why it failed."""
    name = f"{job.condition} seed {job.seed}"
    if result.error:
        return one_line(f"{name} FAILED: {result.complaint}", 200)
    numbers = ", ".join(f"{key} {value:.3g}" for key, value in _numbers(result.values))
    return one_line(f"{name} in {span(result.seconds)}: {numbers}", 200)


def _numbers(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, number) of a result; curves and texts are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{key} ")
        elif isinstance(value, int | float):
            yield f"{before}{key}", value
