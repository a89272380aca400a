"""How a run is watched: a live table at a terminal, one line a step elsewhere."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from superalign_env.plain_text import terminal
from superalign_env.types import Metric
from superalign_training.evaluation.summary import Summary

SHOWN = ("loss", "reward", "success", "entropy")
"""Numbers of a step that are worth a place on the line."""


class Silent:
    """Tells nobody."""

    def begin(self, stage: str, *, round: int, place: int, of: int) -> None:
        """A stage begins."""

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Something countable was done."""

    def end(self, metrics: Sequence[Metric]) -> None:
        """The stage is done."""

    def skip(self, stage: str, *, round: int, place: int, of: int) -> None:
        """The stage was done before."""


class LogLines:
    """One line for every step, for logs and pipes.

    Args:
        write: takes a line.
        clock: seconds, for the time that a stage took.
    """

    def __init__(
        self,
        write: Callable[[str], object] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._name = ""
        self._since = clock()

    def begin(self, stage: str, *, round: int, place: int, of: int) -> None:
        """A stage begins."""
        self._name = f"[{place + 1}/{of}] round {round} {stage}"
        self._since = self._clock()

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Something countable was done."""
        self._write(f"{self._name} {done}/{total} {line_of(numbers)}".rstrip())

    def end(self, metrics: Sequence[Metric]) -> None:
        """The stage is done."""
        took = self._clock() - self._since
        self._write(f"{self._name} done in {took:.1f} s {highlights(metrics)}".rstrip())

    def skip(self, stage: str, *, round: int, place: int, of: int) -> None:
        """The stage was done before."""
        self._write(f"[{place + 1}/{of}] round {round} {stage} was done before")


class LiveTable:
    """A bar for the stage that runs, and a line for each that is done.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn(
                "{task.completed}/{task.total} {task.fields[numbers]}", markup=False
            ),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._name = ""

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

    def begin(self, stage: str, *, round: int, place: int, of: int) -> None:
        """A stage begins."""
        self._name = f"round {round} {stage}"
        self._task = self._progress.add_task(
            f"[{place + 1}/{of}] {self._name}", total=1, numbers=""
        )

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Something countable was done."""
        if self._task is not None:
            self._progress.update(
                self._task, completed=done, total=total, numbers=line_of(numbers)
            )

    def end(self, metrics: Sequence[Metric]) -> None:
        """The stage is done."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._line(f"  {self._name:<18} {highlights(metrics)}")

    def skip(self, stage: str, *, round: int, place: int, of: int) -> None:
        """The stage was done before."""
        self._line(f"  round {round} {stage:<10} was done before")

    def _line(self, text: str) -> None:
        # What is printed may hold words of a transcript: no markup, no guessing.
        self._console.print(terminal(text), highlight=False, markup=False)


def line_of(numbers: Mapping[str, float]) -> str:
    """Return the numbers of a step that are worth showing."""
    return " ".join(f"{key} {numbers[key]:.3f}" for key in SHOWN if key in numbers)


def highlights(metrics: Sequence[Metric]) -> str:
    """Return a few of a stage's metrics on one line."""
    chosen = [
        m
        for m in metrics
        if "kind" not in m.tags and not m.name.startswith("learner.refusal")
    ]
    return ", ".join(f"{terminal(m.name)}{_tagged(m)} {m.value:.2f}" for m in chosen[:6])


def summary_tables(summary: Summary) -> list[Table]:
    """Return the summary as tables for the terminal, one for each split."""
    tables = []
    for split in summary.splits:
        head, *body = summary.rows(split)
        table = Table(*head[:1])
        for name in head[1:]:
            table.add_column(name, justify="right")
        for row in body:
            table.add_row(*row)
        tables.append(table)
    return tables


def _tagged(metric: Metric) -> str:
    where = metric.tags.get("attacker") or metric.opponent
    return f" ({terminal(where)})" if where else ""
