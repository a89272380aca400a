"""Numbers of a run: metrics with their declarations, and cells of an experiment's table."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from superalign_env.canonical import from_json, to_json
from superalign_env.store.database import Database, Row
from superalign_env.store.serialization import finite
from superalign_env.types import Metric, MetricKind

TRAINING = "train/*"
"""Pattern of the metrics of optimiser updates: there may be thousands of them."""

_declared: dict[str, MetricKind] = {}


def declare(
    name: str,
    title: str,
    *,
    unit: str = "",
    better: Literal["higher", "lower", ""] = "",
    chart: Literal["line", "matrix", "symmetric", ""] = "line",
) -> MetricKind:
    """Declare a metric, beside the line that computes it.

    A record keeps the declaration with the first value of that name.

    Args:
        name: of the metric, without any role.
        title: heading of its chart.
        unit: ``nats``, ``share`` …
        better: direction of improvement, if there is one.
        chart: how a report draws it, see `MetricKind`.

    Raises:
        ValueError: it is declared otherwise elsewhere.
    """
    kind = MetricKind(name, title, unit, better, chart)
    if _declared.setdefault(name, kind) != kind:
        raise ValueError(f"metric {name!r} is declared twice: {_declared[name]} and {kind}")
    return kind


def declared() -> dict[str, MetricKind]:
    """Return name → declaration, of the modules that are imported."""
    return dict(_declared)


def kind_of(name: str, kinds: Mapping[str, MetricKind] | None = None) -> MetricKind:
    """Return the declaration of a metric; of an undeclared one its name in words, and a line.

    Args:
        name: of the metric.
        kinds: name → declaration; `declared` when absent.
    """
    words = name.removeprefix(TRAINING.rstrip("*")).replace("_", " ").replace("/", ": ")
    plain = MetricKind(name, f"{words[:1].upper()}{words[1:]}")
    return (_declared if kinds is None else kinds).get(name, plain)


class MetricRow(NamedTuple):
    """A metric, and the stage that measured it."""

    stage: str
    metric: Metric


class Metrics:
    """The table of metrics. Reached as ``run.metrics``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, metrics: Sequence[Metric], *, stage: str = "") -> None:
        """Add metrics, all or none.

        Raises:
            ValueError: a number is not finite; leave undefined metrics out.
        """
        rows = [
            (
                stage or None,
                m.agent,
                m.opponent,
                m.name,
                to_json(m.tags).decode(),
                finite(m.value),
                None if m.low is None else finite(m.low),
                None if m.high is None else finite(m.high),
                int(m.n),
                int(m.step),
            )
            for m in metrics
        ]
        names = dict.fromkeys(m.name for m in metrics)
        kinds = [_declared[name] for name in names if name in _declared]
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO metrics(stage, agent, opponent, name, tags, value, low, high, n, "
                "step) VALUES (?,?,?,?,?,?,?,?,?,?)",
                rows,
            )
            connection.executemany(
                "INSERT OR IGNORE INTO metric_kinds(name, title, unit, better, chart) "
                "VALUES (?,?,?,?,?)",
                [(k.name, k.title, k.unit, k.better, k.chart) for k in kinds],
            )

    def read(
        self,
        name: str | None = None,
        *,
        stage: str | None = None,
        agent: str | None = None,
        opponent: str | None = None,
        tags: Mapping[str, str] | None = None,
        without: str | None = None,
    ) -> list[MetricRow]:
        """Return metrics in the order in which they were written.

        Args:
            name: exact, or a pattern with ``*``.
            stage: only of this stage.
            agent: only of this agent.
            opponent: only against this opponent.
            tags: only those that bear all of these.
            without: none whose name fits this pattern, such as `TRAINING`.
        """
        rows = self._database.rows(
            "SELECT coalesce(stage, ''), name, value, low, high, n, agent, opponent, tags, step "
            "FROM metrics WHERE (:name IS NULL OR name = :name OR name GLOB :name) "
            "AND (:stage IS NULL OR stage = :stage) AND (:agent IS NULL OR agent = :agent) "
            "AND (:opponent IS NULL OR opponent = :opponent) "
            "AND (:without IS NULL OR name NOT GLOB :without) ORDER BY id",
            {
                "name": name,
                "stage": stage,
                "agent": agent,
                "opponent": opponent,
                "without": without,
            },
        )
        wanted = (tags or {}).items()
        metrics = [MetricRow(row[0], _metric(row[1:])) for row in rows]
        return [row for row in metrics if wanted <= row.metric.tags.items()]

    def kinds(self) -> dict[str, MetricKind]:
        """Return name → declaration, of the metrics that are declared."""
        rows = self._database.rows(
            "SELECT name, title, unit, better, chart FROM metric_kinds ORDER BY rowid"
        )
        return {row[0]: MetricKind(*row) for row in rows}

    def latest(self, name: str, **where: str) -> Metric | None:
        """Return the newest metric of a name; None when there is none yet."""
        metrics = self.read(name, **where)  # type: ignore[arg-type]  # names are checked by `read`
        return metrics[-1].metric if metrics else None


def _metric(row: Row) -> Metric:
    name, value, low, high, n, agent, opponent, tags, step = row
    read = from_json(tags, dict[str, str])
    return Metric(name, value, low, high, n, agent, opponent, read, step)


class Cell(NamedTuple):
    """One cell of an experiment's table."""

    hash: str
    """Over experiment, parameters, seed and revision."""
    experiment: str
    params: dict[str, Any]
    seed: int
    revision: str
    status: str
    """``running``, ``done`` or ``failed``."""
    result: dict[str, Any]
    seconds: float = 0.0
    """Of the attempt that came to this status."""
    cost: Mapping[str, float] = {}
    """Unit → amount, of the same attempt: ``cpu-seconds``, ``tokens`` …"""
    code: str = ""
    """Hash of the code that computed it, beside the revision that a person raises."""
    error: str = ""
    """Trace of what went wrong, when it failed."""


_COLUMNS = ", ".join(Cell._fields)
_HOLDERS = ", ".join(f":{field}" for field in Cell._fields)
_JSON = ("params", "result", "cost")


class Cells:
    """The table of cells. Reached as ``run.cells``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, cell: Cell) -> None:
        """Write a cell, or replace the one with its hash."""
        row = cell._asdict()
        row |= {field: to_json(row[field]).decode() for field in _JSON}
        with self._database.transaction() as connection:
            # It goes to the end: `all` returns cells in the order of their last change.
            connection.execute("DELETE FROM cells WHERE hash = :hash", row)
            connection.execute(f"INSERT INTO cells({_COLUMNS}) VALUES ({_HOLDERS})", row)

    def get(self, name: str) -> Cell | None:
        """Return a cell by hash; None when it was never computed."""
        row = self._database.row(f"SELECT {_COLUMNS} FROM cells WHERE hash = ?", (name,))
        return None if row is None else _cell(row)

    def all(self, experiment: str | None = None) -> list[Cell]:
        """Return the cells, of one experiment or of all, in the order of their last change."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM cells ORDER BY rowid")
        return [cell for cell in map(_cell, rows) if experiment in (None, cell.experiment)]


def _cell(row: Row) -> Cell:
    read = dict(zip(Cell._fields, row, strict=True))
    return Cell(**read | {field: from_json(read[field], dict[str, Any]) for field in _JSON})
