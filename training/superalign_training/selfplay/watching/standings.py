"""How a run stands: a row for every round or generation, a column for what is measured."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from superalign_env.measures import census
from superalign_env.report.names import key
from superalign_env.rounding import decimal, number
from superalign_env.store import TRAINING, Run
from superalign_env.types import Metric
from superalign_training.selfplay.driver import Moment
from superalign_training.selfplay.watching.tables import WIDTH, fitting


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
    """A row for every round, or for every generation, as far as it was measured."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, str]] = {}

    def take(self, moment: Moment, metrics: Sequence[Metric]) -> None:
        """Take in what a stage measured; the final test has no row."""
        if moment.stage in ENDS:
            return
        number = moment.generation or moment.round
        name = f"{'generation' if moment.generation else 'round'} {number}"
        values = {
            column.title: _said(told, column)
            for column in COLUMNS
            if (told := [m for m in metrics if _fits(m, column)])
        }
        if not any(m.name in _KNOWN for m in metrics if "who" in m.tags):
            values |= _others(metrics)
        if values:
            self._rows.setdefault(name if number else "before", {}).update(values)

    @property
    def last(self) -> dict[str, str]:
        """Title of a column → what the newest row says there."""
        return dict(next(reversed(self._rows.values()), {}))

    def tables(self, width: int = WIDTH) -> list[Table | Text]:
        """Return the table, in parts that fit a width; none as long as nothing is in it."""
        titles = dict.fromkeys(title for row in self._rows.values() for title in row)
        known = [c.title for c in COLUMNS if c.title in titles]
        columns = [*known, *[t for t in titles if t not in known][:_MOST_OTHERS]]
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
    """Return what a scenario of its own measured of a lineup: heading → number."""
    return {
        key(m).title(): decimal(m.value)
        for m in metrics
        if "who" in m.tags and (m.name != "episodes.failed" or m.value)
    }


def _said(told: Sequence[Metric], column: Column) -> str:
    if column.shows:
        return told[-1].tags.get(column.shows, "")
    value = census([m.value for m in told]).value
    if column.metric == "gate.accepted":
        return "accepted" if value > 0 else "rolled back"
    return number(value) if column.metric == "risk.hazards" else decimal(value)


def standings_of(run: Run) -> Standings:
    """Return how a recorded run stands."""
    standings = Standings()
    stages = run.stages.all(status="done")
    for place, stage in enumerate(stages):
        moment = Moment(stage.name, stage.round, stage.generation, place, len(stages))
        measured = run.metrics.read(stage=stage.id, without=TRAINING)
        standings.take(moment, [row.metric for row in measured])
    return standings
