"""How an experiment is watched: a bar at a terminal, a line a cell elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from superalign_env.plain_text import one_line, terminal
from superalign_training.experiments.engine.plan import Job
from superalign_training.experiments.engine.time_left import TimeLeft, span
from superalign_training.experiments.engine.work import Answer


class Watcher(Protocol):
    """Who is told how an experiment goes."""

    def start(self, jobs: Sequence[Job], *, cached: int, workers: int) -> object:
        """So many cells will be computed; others were found."""
        ...

    def begin(self, job: Job) -> object:
        """A cell begins."""
        ...

    def step(self, job: Job, share: float) -> object:
        """So much of a cell is done, in [0, 1]."""
        ...

    def end(self, job: Job, answer: Answer) -> object:
        """A cell is done, or has failed."""
        ...

    def say(self, text: str) -> object:
        """Something that a person should know."""
        ...


@contextmanager
def watched() -> Iterator[Watcher]:
    """Watch with a bar at a terminal, with lines elsewhere."""
    console = Console()
    if not console.is_terminal:
        yield Lines()
        return
    with Bar(console) as bar:
        yield bar


class Silent:
    """Tells nobody."""

    def start(self, jobs: Sequence[Job], *, cached: int, workers: int) -> None:
        """So many cells will be computed."""

    def begin(self, job: Job) -> None:
        """A cell begins."""

    def step(self, job: Job, share: float) -> None:
        """So much of a cell is done."""

    def end(self, job: Job, answer: Answer) -> None:
        """A cell is done."""

    def say(self, text: str) -> None:
        """Something that a person should know."""


class Lines:
    """A line for every cell, for logs and pipes.

    Args:
        write: takes a line.
    """

    def __init__(self, write: Callable[[str], object] = print) -> None:
        self._write = write
        self._time = TimeLeft((), 1)
        self._done = self._total = 0

    def start(self, jobs: Sequence[Job], *, cached: int, workers: int) -> None:
        """So many cells will be computed."""
        self._time = TimeLeft(jobs, workers)
        self._total = len(jobs)
        self._write(f"{len(jobs)} cells to compute, {cached} found")

    def begin(self, job: Job) -> None:
        """A cell begins."""

    def step(self, job: Job, share: float) -> None:
        """So much of a cell is done."""

    def end(self, job: Job, answer: Answer) -> None:
        """A cell is done."""
        self._time.take(job, answer.seconds)
        self._done += 1
        left = f", about {span(self._time.left())} left" if self._still() else ""
        self._write(f"[{self._done}/{self._total}] {line_of(job, answer)}{left}")

    def say(self, text: str) -> None:
        """Something that a person should know."""
        self._write(terminal(text))

    def _still(self) -> bool:
        return self._done < self._total


class Bar:
    """A bar over the cells, with a line for each that is done. Used as a context manager.

    Args:
        console: where to.
        clock: seconds, for the time that is left.
    """

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._clock = clock
        self._since: dict[str, float] = {}
        self._time = TimeLeft((), 1)
        self._running: dict[str, str] = {}
        self._task: TaskID | None = None
        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total} cells"),
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
        """So many cells will be computed."""
        self._time = TimeLeft(jobs, workers)
        total = len(jobs) + cached
        self._task = self._progress.add_task(
            "", total=total, completed=cached, left="", running=""
        )

    def begin(self, job: Job) -> None:
        """A cell begins."""
        self._running[job.hash] = f"{job.condition} {job.seed}"
        self._since[job.hash] = self._clock()
        self._show(advance=0)

    def step(self, job: Job, share: float) -> None:
        """So much of a cell is done."""
        self._running[job.hash] = f"{job.condition} {job.seed} {share:.0%}"
        self._time.step(job, share, self._clock() - self._since[job.hash])
        self._show(advance=0)

    def end(self, job: Job, answer: Answer) -> None:
        """A cell is done."""
        self._time.take(job, answer.seconds)
        self._running.pop(job.hash, None)
        self._since.pop(job.hash, None)
        self.say(line_of(job, answer))
        self._show(advance=1)

    def say(self, text: str) -> None:
        """Something that a person should know."""
        self._console.print(terminal(text), highlight=False, markup=False)

    def _show(self, *, advance: int) -> None:
        if self._task is None:
            return
        left = self._time.left()
        self._progress.update(
            self._task,
            advance=advance,
            left="" if left is None else f"about {span(left)} left",
            running=one_line(", ".join(self._running.values()), 48),
        )


def line_of(job: Job, answer: Answer) -> str:
    """Return a cell that is done as a line: its numbers, or why it failed."""
    name = f"{job.condition} seed {job.seed}"
    if answer.error:
        return one_line(f"{name} FAILED: {answer.complaint}", 200)
    numbers = ", ".join(f"{key} {value:.3g}" for key, value in _numbers(answer.result))
    return one_line(f"{name} in {span(answer.seconds)}: {numbers}", 200)


def _numbers(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, number) of a result; curves and texts are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{key} ")
        elif isinstance(value, int | float):
            yield f"{before}{key}", value
