"""How a run stands: a row for every round or generation, a column for what is measured."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from superalign_env.measures import census
from superalign_env.plain_text import terminal
from superalign_env.store import TRAINING, Run
from superalign_env.types import Metric
from superalign_training.loop.driver import Moment


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
        for column in COLUMNS:
            told = [m for m in metrics if _fits(m, column)]
            if told:
                self._rows.setdefault(name if number else "before", {})[column.title] = (
                    _said(told, column)
                )

    @property
    def last(self) -> dict[str, str]:
        """Title of a column → what the newest row says there."""
        return dict(next(reversed(self._rows.values()), {}))

    def table(self) -> Table | None:
        """Return the table; None as long as there is nothing in it."""
        columns = [c for c in COLUMNS if any(c.title in r for r in self._rows.values())]
        if not columns:
            return None
        table = Table()
        table.add_column("", no_wrap=True)
        for column in columns:
            table.add_column(column.title, justify="right")
        for name, row in self._rows.items():
            table.add_row(name, *(terminal(row.get(c.title, "")) for c in columns))
        return table


def _fits(metric: Metric, column: Column) -> bool:
    return (
        metric.name == column.metric
        and column.tags.items() <= metric.tags.items()
        and not ("kind" in metric.tags and "kind" not in column.tags)
    )


def _said(told: Sequence[Metric], column: Column) -> str:
    if column.shows:
        return told[-1].tags.get(column.shows, "")
    value = census([m.value for m in told]).value
    if column.metric == "gate.accepted":
        return "accepted" if value > 0 else "rolled back"
    return f"{value:.0f}" if column.metric == "risk.hazards" else f"{value:.2f}"


def standings_of(run: Run) -> Standings:
    """Return how a recorded run stands."""
    standings = Standings()
    stages = run.stages.all(status="done")
    for place, stage in enumerate(stages):
        moment = Moment(stage.name, stage.round, stage.generation, place, len(stages))
        measured = run.metrics.read(stage=stage.id, without=TRAINING)
        standings.take(moment, [row.metric for row in measured])
    return standings
