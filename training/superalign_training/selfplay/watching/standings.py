"""Tables for a terminal, with further columns below where one is too wide."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from superalign_env.cli.output import Marked, shown
from superalign_env.measures import census
from superalign_env.plain_text import columns as columns_of
from superalign_env.plain_text import one_line
from superalign_env.report.names import key
from superalign_env.rounding import decimal, number
from superalign_env.store import TRAINING, Run
from superalign_env.types import Metric
from superalign_training.selfplay.driver import Moment

WIDTH = 80
"""Columns of a terminal that nobody widened."""

_PADDING = 2
_LONGEST_CAPTION = 1000
_NARROWEST = 8
_LONGEST_NAME = 30
"""Characters of a row's name before it is folded."""


def fitting(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int = WIDTH,
    caption: str = "",
) -> list[Table | Marked]:
    """Return a table, in several parts where it is wider than the terminal.

    The first column names the rows and is repeated. No number is cut: headings are folded
    at their words.

    Args:
        head: what the columns are called.
        rows: as many cells as there are columns.
        width: of the terminal, in characters.
        caption: below the last part.
    """
    columns = [[head[n], *(row[n] for row in rows)] for n in range(len(head))]
    parts: list[Table | Marked] = [_table(part, width) for part in _parts(columns, width)]
    return [*parts, shown(one_line(caption, _LONGEST_CAPTION))] if caption else parts


def _parts(columns: list[list[str]], width: int) -> Iterator[list[list[str]]]:
    names, *rest = columns
    part, used = [names], min(_width(names), _LONGEST_NAME) + _PADDING
    base = used
    for column in rest:
        needed = _width(column) + _PADDING
        if len(part) > 1 and used + needed > width:
            yield part
            part, used = [names], base
        part, used = [*part, column], used + needed
    yield part


def _width(column: list[str]) -> int:
    """Return the width of a column: headings may wrap, cells may not."""
    head, *cells = map(one_line, column)
    return max(map(columns_of, [*head.split(), *cells, " "]))


def _table(columns: list[list[str]], width: int) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    needs = [min(_width(columns[0]), _LONGEST_NAME)]
    limit = max(width - needs[0] - 2 * _PADDING, _NARROWEST)
    needs += [min(_width(column), limit) for column in columns[1:]]
    spare = width - sum(needs) - _PADDING * len(needs)
    for place, (head, *_) in enumerate(columns):
        table.add_column(
            Text(one_line(head)),
            justify="right" if place else "left",
            overflow="fold",
            min_width=needs[place],
            max_width=needs[place] + (0 if place else max(spare, 0)),
        )
    for row in zip(*(cells for _, *cells in columns), strict=True):
        first, *others = map(one_line, row)
        table.add_row(shown(first), *map(Text, others))
    return table


class Column(NamedTuple):
    """One column of the live table."""

    title: str
    metric: str
    tags: Mapping[str, str] = {}
    """What the metric's tags must say; several metrics that fit are averaged."""
    shows: str = ""
    """A tag that is shown instead of the value."""


COLUMNS = (
    Column("level", "gap.steps", shows="level"),
    Column("U", "capability.utility", {"side": "+"}),
    Column("conformity", "conformity", {"side": "+"}),
    Column("safety", "safety", {"side": "+"}),
    Column("hazards", "risk.hazards"),
    Column("still", "risk.residual", {"side": "+"}),
    Column("sources differ", "signals.disagreement"),
    Column("gate", "gate.accepted"),
    Column("right", "refusals.balanced-accuracy", {"split": "gate"}),
    Column("misses", "refusals.miss", {"split": "gate"}),
    Column("over-refuses", "refusals.over-refusal", {"split": "gate"}),
    Column("attacks succeed", "attack.success"),
    Column("critic right", "verdicts.accuracy", {"on": "planted"}),
)
"""Metrics of a round or a generation that have a column, as soon as one was measured."""


_KNOWN = frozenset(column.metric for column in COLUMNS)
_MOST_OTHERS = 6
"""Columns at most for metrics that have none in `COLUMNS`: a terminal is 80 wide."""

ENDS = ("test", "critics")
"""Stages that measure a whole run, and belong to no round."""


class Standings:
    """Results of a run: a row for every measured round or generation."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, str]] = {}

    def take(self, moment: Moment, metrics: Sequence[Metric]) -> None:
        """Add the metrics of a stage; the final test has no row."""
        if moment.stage in ENDS:
            return
        number = moment.generation or moment.round
        name = f"{'generation' if moment.generation else 'round'} {number}"
        values = {
            column.title: _said(fitting_metrics, column)
            for column in COLUMNS
            if (fitting_metrics := [m for m in metrics if _fits(m, column)])
        }
        if not any(m.name in _KNOWN for m in metrics if "who" in m.tags):
            values |= _others(metrics)
        if values:
            self._rows.setdefault(name if number else "before", {}).update(values)

    @property
    def last(self) -> dict[str, str]:
        """Title of a column → value in the newest row."""
        return dict(next(reversed(self._rows.values()), {}))

    def tables(self, width: int = WIDTH) -> list[Table | Marked]:
        """Return the table in parts that fit a width; empty without rows."""
        titles = dict.fromkeys(title for row in self._rows.values() for title in row)
        declared = [c.title for c in COLUMNS if c.title in titles]
        columns = [*declared, *[t for t in titles if t not in declared][:_MOST_OTHERS]]
        if not columns:
            return []
        rows = [
            [name, *(row.get(t, "") for t in columns)] for name, row in self._rows.items()
        ]
        return fitting(["", *columns], rows, width=width)


def _fits(metric: Metric, column: Column) -> bool:
    return (
        metric.name == column.metric
        and column.tags.items() <= metric.tags.items()
        and not ("kind" in metric.tags and "kind" not in column.tags)
    )


def _others(metrics: Sequence[Metric]) -> dict[str, str]:
    """Return heading → number of a scenario's own metrics."""
    return {
        key(m).title(): decimal(m.value)
        for m in metrics
        if "who" in m.tags and (m.name != "episodes.failed" or m.value)
    }


def _said(metrics: Sequence[Metric], column: Column) -> str:
    if column.shows:
        return metrics[-1].tags.get(column.shows, "")
    value = census([m.value for m in metrics]).value
    if column.metric == "gate.accepted":
        return "accepted" if value > 0 else "rolled back"
    return number(value) if column.metric == "risk.hazards" else decimal(value)


def standings_of(run: Run) -> Standings:
    """Return the results of a recorded run."""
    standings = Standings()
    stages = run.stages.all(status="done")
    for place, stage in enumerate(stages):
        moment = Moment(stage.name, stage.round, stage.generation, place, len(stages))
        measured = run.metrics.read(stage=stage.id, without=TRAINING)
        standings.take(moment, [row.metric for row in measured])
    return standings
