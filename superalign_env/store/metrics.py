"""Metrics: the record is the truth for every number."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from superalign_env.canonical import from_json, to_json
from superalign_env.store.database import Database, Row
from superalign_env.store.serialization import finite
from superalign_env.types import Metric


class Measured(NamedTuple):
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
        self._database.write(
            "INSERT INTO metrics(stage, agent, opponent, name, tags, value, low, high, n, step) "
            "VALUES (?,?,?,?,?,?,?,?,?,?)",
            [
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
            ],
        )

    def read(
        self,
        name: str | None = None,
        *,
        stage: str | None = None,
        agent: str | None = None,
        opponent: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> list[Measured]:
        """Return metrics in the order in which they were written.

        Args:
            name: exact, or a pattern with ``*``.
            stage: only of this stage.
            agent: only of this agent.
            opponent: only against this opponent.
            tags: only those that bear all of these.
        """
        rows = self._database.rows(
            "SELECT coalesce(stage, ''), name, value, low, high, n, agent, opponent, tags, step "
            "FROM metrics WHERE (:name IS NULL OR name = :name OR name GLOB :name) "
            "AND (:stage IS NULL OR stage = :stage) AND (:agent IS NULL OR agent = :agent) "
            "AND (:opponent IS NULL OR opponent = :opponent) ORDER BY id",
            {"name": name, "stage": stage, "agent": agent, "opponent": opponent},
        )
        wanted = (tags or {}).items()
        found = [Measured(row[0], _metric(row[1:])) for row in rows]
        return [row for row in found if wanted <= row.metric.tags.items()]

    def latest(self, name: str, **where: str) -> Metric | None:
        """Return the newest metric of a name; None when there is none yet."""
        found = self.read(name, **where)  # type: ignore[arg-type]  # names are checked by `read`
        return found[-1].metric if found else None


def _metric(row: Row) -> Metric:
    name, value, low, high, n, agent, opponent, tags, step = row
    read = from_json(tags, dict[str, str])
    return Metric(name, value, low, high, n, agent, opponent, read, step)
