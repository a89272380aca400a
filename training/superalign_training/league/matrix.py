"""Who beats whom, for two roles: a matrix that is read from the record's metrics."""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from superalign_env.store import declare
from superalign_env.types import Metric, Role
from superalign_training.league.ratings import Contest
from superalign_training.league.sampling import Beaten

WON = "league.win"
"""Metric: share of cases that the agent won against the opponent, as the scenario or critics
say; nobody's games count half. Training may read it."""
TRUE = "league.fault"
"""Metric: share of queries that were answered wrongly by the truth. Evaluation only."""

declare(WON, "Cases won", unit="share", chart="matrix")
declare(TRUE, "Attacks that succeeded, by the truth", unit="share", chart="matrix")


class Pairing(NamedTuple):
    """Two roles whose checkpoints meet."""

    role: Role
    """Whose wins are counted: the rows of a matrix."""
    against: Role
    """The columns."""


class Matrix(NamedTuple):
    """How often each checkpoint of one role beats each one of another."""

    pairing: Pairing
    agents: tuple[str, ...]
    """Rows, oldest first."""
    opponents: tuple[str, ...]
    """Columns, oldest first."""
    cells: dict[tuple[str, str], Metric]
    """(agent, opponent) → share of cases that the agent won; unplayed ones are absent."""

    def value(self, agent: str, opponent: str) -> float | None:
        """Return the share of one cell; None while it was not played."""
        cell = self.cells.get((agent, opponent))
        return None if cell is None else cell.value

    def table(self) -> list[list[str]]:
        """Return a heading and one line for each agent, as text."""
        role, against = self.pairing
        lines = [[role, *(f"{against} {i}" for i in range(len(self.opponents)))]]
        for number, agent in enumerate(self.agents):
            values = [self.value(agent, opponent) for opponent in self.opponents]
            shown = ["" if value is None else f"{value:.2f}" for value in values]
            lines.append([f"{role} {number}", *shown])
        return lines

    def contests(self) -> list[Contest]:
        """Return the played cells, for ratings; names bear their role.

        One policy may be a member in two roles and is not equally strong in both.
        """
        role, against = self.pairing
        return [
            Contest(f"{role}/{agent}", f"{against}/{opponent}", cell.value, cell.n)
            for (agent, opponent), cell in self.cells.items()
        ]

    def beaten_by(self, role: Role, other: str) -> dict[str, Beaten]:
        """Return how often each checkpoint of a role beat one of the other role.

        Args:
            role: one of the two; its checkpoints are asked about.
            other: name of the checkpoint that they played.
        """
        if role == self.pairing.role:
            rows = {name: self.cells.get((name, other)) for name in self.agents}
            return {n: Beaten(cell.value, cell.n) for n, cell in rows.items() if cell}
        columns = {name: self.cells.get((other, name)) for name in self.opponents}
        return {n: Beaten(1.0 - cell.value, cell.n) for n, cell in columns.items() if cell}


def matrix_of(
    metrics: Iterable[Metric],
    pairing: Pairing,
    agents: Sequence[str],
    opponents: Sequence[str],
    *,
    name: str = WON,
) -> Matrix:
    """Return the matrix that metrics of one name hold.

    Args:
        metrics: any; their tags ``role`` and ``against`` say which two roles met.
        pairing: the two roles.
        agents: names of the rows, oldest first.
        opponents: names of the columns, oldest first.
        name: `WON` or `TRUE`: what critics say and what is true are two matrices.
    """
    rows, columns = set(agents), set(opponents)
    cells = {
        (metric.agent, metric.opponent): metric
        for metric in metrics
        if metric.name == name
        and (metric.tags.get("role"), metric.tags.get("against")) == pairing
        and metric.agent in rows
        and metric.opponent in columns
    }
    return Matrix(pairing, tuple(agents), tuple(opponents), cells)


def missing(
    agents: Sequence[str], opponents: Sequence[str], known: Container[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the cells that were never played: a newcomer's row or column."""
    return [(a, b) for a in agents for b in opponents if (a, b) not in known]
