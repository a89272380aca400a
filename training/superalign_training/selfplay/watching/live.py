"""Progress display: a live table at a terminal, lines in a log."""

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from superalign_env.cli.output import Marked
from superalign_env.plain_text import inline
from superalign_env.rounding import decimal, number
from superalign_env.store import kind_of
from superalign_env.types import Metric
from superalign_training.evaluation.chain_summary import ChainSummary
from superalign_training.evaluation.outcome_summary import OutcomeSummary
from superalign_training.evaluation.summary import Summary
from superalign_training.selfplay.driver import Moment
from superalign_training.selfplay.watching.standings import WIDTH, Standings, fitting

SHOWN = ("loss", "reward", "success", "entropy")
"""Numbers of a step that are worth a place on the line."""

_TELLING = ("attacker", "family", "dimension", "truth", "seat", "name", "role")
"""Tags of which the first says what a number is about."""

QUIET_SECONDS = 10.0
"""A log hears of a stage's steps no more often than this."""


class Silent:
    """A watcher without output."""

    def begin(self, moment: Moment) -> None:
        """A stage begins."""

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Progress within the stage."""

    def end(self, metrics: Sequence[Metric]) -> None:
        """The stage is done."""

    def skip(self, moment: Moment, metrics: Sequence[Metric]) -> None:
        """The stage was done before."""

    def wait(self, reason: str) -> None:
        """The stage stands still."""


class LogLines:
    """One line per stage and some progress lines, for logs and pipes.

    Args:
        write: takes a line.
        clock: seconds, for the time that a stage took.
        every: seconds between two lines about one stage.
    """

    def __init__(
        self,
        write: Callable[[str], object] = print,
        clock: Callable[[], float] = time.monotonic,
        every: float = QUIET_SECONDS,
    ) -> None:
        self._write = write
        self._clock = clock
        self._every = every
        self._name = self._awaited = ""
        self._since = self._last = clock()

    def begin(self, moment: Moment) -> None:
        """A stage begins."""
        self._name = f"[{moment.place + 1}/{moment.of}] {moment_name(moment)}"
        self._since = self._last = self._clock()

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Progress within the stage; a line only after a while."""
        now = self._clock()
        if now - self._last >= self._every:
            self._last = now
            self._write(f"{self._name} {done}/{total} {line_of(numbers)}".rstrip())

    def end(self, metrics: Sequence[Metric]) -> None:
        """The stage is done."""
        took = self._clock() - self._since
        self._write(f"{self._name} done in {took:.1f} s {highlights(metrics)}".rstrip())

    def skip(self, moment: Moment, metrics: Sequence[Metric]) -> None:
        """The stage was done before."""
        self._write(
            f"[{moment.place + 1}/{moment.of}] {moment_name(moment)} was done before"
        )

    def wait(self, reason: str) -> None:
        """The stage waits; each reason is printed once."""
        if reason != self._awaited:
            self._awaited = reason
            self._write(f"{self._name} {reason}")


class LiveTable:
    """A live table of measured rounds or generations, with a progress bar.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._standings = Standings()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn(
                "{task.completed}/{task.total} {task.fields[numbers]}", markup=False
            ),
            TimeElapsedColumn(),
            console=console,
        )
        self._live = Live(self._progress, console=console, refresh_per_second=4)
        self._task: TaskID | None = None
        self._moment: Moment | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._drop_bar()
        self._show()
        self._live.stop()

    def begin(self, moment: Moment) -> None:
        """A stage begins."""
        self._drop_bar()
        self._moment = moment
        self._task = self._progress.add_task(
            f"[{moment.place + 1}/{moment.of}] {inline(moment_name(moment))}",
            total=1,
            numbers="",
        )
        self._show()

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Progress within the stage."""
        if self._task is not None:
            self._progress.update(
                self._task, completed=done, total=total, numbers=line_of(numbers)
            )

    def end(self, metrics: Sequence[Metric]) -> None:
        """The stage is done."""
        self._drop_bar()
        if self._moment is not None:
            self._standings.take(self._moment, metrics)
        self._show()

    def skip(self, moment: Moment, metrics: Sequence[Metric]) -> None:
        """The stage was done before."""
        self._standings.take(moment, metrics)
        self._show()

    def wait(self, reason: str) -> None:
        """The stage stands still."""
        if self._task is not None:
            self._progress.update(self._task, numbers=inline(reason))

    def _drop_bar(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    def _show(self) -> None:
        tables = self._standings.tables(self._console.width)
        self._live.update(Group(*tables, self._progress))


def moment_name(moment: Moment) -> str:
    """Return the name of a position in a run."""
    text = f"round {moment.round} {moment.stage}"
    return f"generation {moment.generation} {text}" if moment.generation else text


def line_of(numbers: Mapping[str, float]) -> str:
    """Return the main numbers of a step as text."""
    return " ".join(f"{key} {decimal(numbers[key], 3)}" for key in SHOWN if key in numbers)


def highlights(metrics: Sequence[Metric]) -> str:
    """Return the main metrics of a stage's newest measurement on one line."""
    visible = [
        m
        for m in metrics
        if "kind" not in m.tags and not m.name.startswith("refusals.share")
    ]
    newest = _newest(visible)
    newest_metrics = [m for m in visible if m.tags.get("who", newest) == newest]
    return ", ".join(
        f"{inline(_title(m))}{_tagged(m)} {_shown(m)}" for m in newest_metrics[:6]
    )


def _title(metric: Metric) -> str:
    """Return the title of a metric in lower case within a sentence."""
    title = kind_of(metric.name).title
    return f"{title[:1].lower()}{title[1:]}"


def _shown(metric: Metric) -> str:
    """Return a metric's value as text; counts without a fraction."""
    value, counted = float(metric.value), not metric.n and metric.low is None
    is_count = value.is_integer() and (counted or abs(value) > 1)
    return number(value) if is_count else decimal(value)


def _newest(metrics: Sequence[Metric]) -> str:
    """Return the last measured lineup, without baselines and unaligned sides; empty for none."""
    names = [m.tags["who"] for m in metrics if m.tags.get("who")]
    if "final" in names:
        return "final"
    aligned = [name for name in names if name.endswith("+")]
    return (aligned or names or [""])[-1]


def summary_tables(
    summary: Summary | ChainSummary | OutcomeSummary, width: int = WIDTH
) -> list[Table | Marked]:
    """Return the summary as tables for a terminal, for each split, with its note."""
    tables: list[Table | Marked] = []
    for split in summary.splits:
        head, *body = summary.rows(split)
        tables += fitting(head, body, width=width, caption=summary.note(split))
    return tables


def _tagged(metric: Metric) -> str:
    parts = (metric.tags.get(name) for name in _TELLING)
    tag = next(filter(None, parts), metric.opponent)
    return f" ({inline(tag)})" if tag else ""
