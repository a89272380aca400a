"""The attacker × learner matrix, read from the record's metrics."""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from superalign_env.types import Metric
from superalign_training.league.ratings import Contest
from superalign_training.league.sampling import Beaten

JUDGED = "league.success"
"""Metric: share of queries that succeeded as the critics say. Training may read it."""
TRUE = "league.fault"
"""Metric: share of queries that were answered wrongly by the truth. Evaluation only."""


class Matrix(NamedTuple):
    """How often each attacker beats each learner."""

    attackers: tuple[str, ...]
    """Rows, oldest first."""
    learners: tuple[str, ...]
    """Columns, oldest first."""
    cells: dict[tuple[str, str], Metric]
    """(attacker, learner) → share of its queries that succeeded; unplayed ones are absent."""

    def value(self, attacker: str, learner: str) -> float | None:
        """Return the share of one cell; None while it was not played."""
        cell = self.cells.get((attacker, learner))
        return None if cell is None else cell.value

    def table(self) -> list[list[str]]:
        """Return a heading and one line for each attacker, as text."""
        lines = [["attacker", *(f"learner {i}" for i in range(len(self.learners)))]]
        for number, attacker in enumerate(self.attackers):
            values = [self.value(attacker, learner) for learner in self.learners]
            shown = ["" if value is None else f"{value:.2f}" for value in values]
            lines.append([f"attacker {number}", *shown])
        return lines

    def contests(self) -> list[Contest]:
        """Return the played cells, for ratings; names bear their role.

        One policy may be a member in two roles and is not equally strong in both.
        """
        return [
            Contest(f"attacker/{attacker}", f"learner/{learner}", cell.value, cell.n)
            for (attacker, learner), cell in self.cells.items()
        ]

    def attackers_against(self, learner: str) -> dict[str, Beaten]:
        """Return how often each attacker beat a learner, where that was played."""
        found = {a: self.cells.get((a, learner)) for a in self.attackers}
        return {a: Beaten(cell.value, cell.n) for a, cell in found.items() if cell}

    def learners_against(self, attacker: str) -> dict[str, Beaten]:
        """Return how often each learner withstood an attacker, where that was played."""
        found = {name: self.cells.get((attacker, name)) for name in self.learners}
        return {
            name: Beaten(1.0 - cell.value, cell.n) for name, cell in found.items() if cell
        }


def matrix_of(
    metrics: Iterable[Metric],
    attackers: Sequence[str],
    learners: Sequence[str],
    *,
    name: str = JUDGED,
) -> Matrix:
    """Return the matrix that metrics of one name hold.

    Args:
        metrics: any; ``agent`` is the attacker and ``opponent`` the learner.
        attackers: names of the rows, oldest first.
        learners: names of the columns, oldest first.
        name: `JUDGED` or `TRUE`: what critics say and what is true are two matrices.
    """
    rows, columns = set(attackers), set(learners)
    cells = {
        (metric.agent, metric.opponent): metric
        for metric in metrics
        if metric.name == name and metric.agent in rows and metric.opponent in columns
    }
    return Matrix(tuple(attackers), tuple(learners), cells)


def missing(
    attackers: Sequence[str], learners: Sequence[str], known: Container[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the cells that were never played: a newcomer's row or column."""
    return [(a, b) for a in attackers for b in learners if (a, b) not in known]
