"""Win matrix and ratings of a league, read from the record's metrics."""

import io
from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from openskill.models import PlackettLuce

from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, normal
from superalign_env.store import declare
from superalign_env.types import Metric, Role
from superalign_training.selfplay.opponents.pool import MembersByRole
from superalign_training.selfplay.opponents.settings import Pairing, WinRate

WON = "league.win"
"""Metric: share of cases that the agent won against the opponent, as the scenario or critics
say; nobody's games count half. Training may read it."""
TRUE = "league.fault"
"""Metric: share of queries that were answered wrongly by the truth. Evaluation only."""

RIGHT = "league.right"
"""Metric: share of the fixed planted answers that a critic judges rightly."""
PLANTED = "planted answers"
"""The opponent of every critic."""
RATING = "league.rating"
"""Metric: a rating with the 95 % interval of its belief; tags role and number."""

declare(WON, "Cases won", unit="share", chart="matrix")
declare(TRUE, "Attacks that succeeded, by the truth", unit="share", chart="matrix")
declare(
    RIGHT, "Planted answers that a critic judges rightly", unit="share", better="higher"
)
declare(RATING, "Rating in the league", better="higher")


class MatchResult(NamedTuple):
    """One cell: an agent against an opponent, over some queries."""

    agent: str
    opponent: str
    won: float
    """Share of the queries that the agent won, in [0, 1]; the rest it lost."""
    n: int
    """Queries; each is a game."""


class Rating(NamedTuple):
    """Strength of an agent, with its uncertainty."""

    mu: float
    """Middle of the belief; beginners have 25."""
    sigma: float
    """Its standard deviation; beginners have 25/3."""
    games: int

    @property
    def estimate(self) -> Estimate:
        """The rating with its 95 % interval."""
        return normal(self.mu, self.sigma, self.games)


class Matrix(NamedTuple):
    """Win rates of the checkpoints of one role against those of another."""

    pairing: Pairing
    agents: tuple[str, ...]
    """Rows, oldest first."""
    opponents: tuple[str, ...]
    """Columns, oldest first."""
    cells: dict[tuple[str, str], Metric]
    """(agent, opponent) → share of cases that the agent won; unplayed ones are absent."""

    def value(self, agent: str, opponent: str) -> float | None:
        """Return the win rate of one cell; None before it was played."""
        cell = self.cells.get((agent, opponent))
        return None if cell is None else cell.value

    def table(self) -> list[list[str]]:
        """Return a heading and one line for each agent, as text."""
        role, against = self.pairing
        lines = [[role, *(f"{against} {i}" for i in range(len(self.opponents)))]]
        for number, agent in enumerate(self.agents):
            values = [self.value(agent, opponent) for opponent in self.opponents]
            texts = ["" if value is None else f"{value:.2f}" for value in values]
            lines.append([f"{role} {number}", *texts])
        return lines

    def contests(self) -> list[MatchResult]:
        """Return the played cells, for ratings; names bear their role.

        One policy may be a member in two roles and is not equally strong in both.
        """
        role, against = self.pairing
        return [
            MatchResult(f"{role}/{agent}", f"{against}/{opponent}", cell.value, cell.n)
            for (agent, opponent), cell in self.cells.items()
        ]

    def win_rates(self, role: Role, opponent: str) -> dict[str, WinRate]:
        """Return the win rate of each checkpoint of a role against one of the other role.

        Args:
            role: one of the two; its checkpoints are asked about.
            opponent: name of the checkpoint that they played.
        """
        if role == self.pairing.role:
            rows = {name: self.cells.get((name, opponent)) for name in self.agents}
            return {n: WinRate(cell.value, cell.n) for n, cell in rows.items() if cell}
        columns = {name: self.cells.get((opponent, name)) for name in self.opponents}
        return {n: WinRate(1.0 - cell.value, cell.n) for n, cell in columns.items() if cell}


def matrix_of(
    metrics: Iterable[Metric],
    pairing: Pairing,
    agents: Sequence[str],
    opponents: Sequence[str],
    *,
    name: str = WON,
) -> Matrix:
    """Return the matrix of the metrics of one name.

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
    agents: Sequence[str], opponents: Sequence[str], played: Container[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the unplayed cells: rows and columns of new checkpoints."""
    return [(a, b) for a in agents for b in opponents if (a, b) not in played]


def rated(
    pairings: Sequence[Pairing],
    members_by_role: MembersByRole,
    metrics: Sequence[Metric],
    *,
    judges: Role = "",
    step: int = 0,
) -> list[Metric]:
    """Return one rating for each member with games, in their order.

    Roles that meet are rated on one scale, by who won their cells. Who judges is rated on
    another, by their accuracy on the same planted answers.

    Args:
        pairings: roles that meet.
        members_by_role: everybody.
        metrics: of the league; others are ignored.
        judges: the role that judges, if it is rated.
        step: of the ratings.
    """
    names = {
        role: [member.name for member in group] for role, group in members_by_role.items()
    }
    contests = [
        contest
        for pairing in pairings
        for contest in matrix_of(
            metrics, pairing, names[pairing.role], names[pairing.against]
        ).contests()
    ]
    accuracies = {m.agent: m for m in metrics if m.name == RIGHT} if judges else {}
    judged = [
        MatchResult(f"{judges}/{m.agent}", PLANTED, m.value, m.n)
        for m in accuracies.values()
    ]
    ratings = rate([*contests, *judged])
    return [
        Metric(
            RATING,
            *ratings[f"{role}/{member.name}"].estimate,
            agent=member.name,
            tags={"role": role, "number": str(member.number)},
            step=step,
        )
        for role, group in members_by_role.items()
        for member in group
        if f"{role}/{member.name}" in ratings
    ]


def heat_map(matrix: Matrix, *, title: str = "share of cases won") -> str:
    """Return an SVG with one role as rows and the other as columns, oldest first.

    The same matrix gives the same bytes. Unplayed cells stay empty.

    Raises:
        ValueError: a matrix without rows or columns.
    """
    # Matplotlib takes half a second to import: paid by those who draw.
    import matplotlib as mpl  # noqa: PLC0415 - slow
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow

    from superalign_env.figures import save  # noqa: PLC0415 - slow

    rows, columns = len(matrix.agents), len(matrix.opponents)
    if not rows or not columns:
        raise ValueError("a matrix without rows or columns cannot be drawn")
    values = np.array(
        [
            [_number(matrix.value(agent, opponent)) for opponent in matrix.opponents]
            for agent in matrix.agents
        ]
    )
    with mpl.rc_context({"svg.hashsalt": "league", "svg.fonttype": "none"}):
        figure = Figure(
            figsize=(1.8 + 0.5 * columns, 1.4 + 0.4 * rows), layout="constrained"
        )
        axes = figure.add_subplot()
        axes.imshow(values, vmin=0.0, vmax=1.0, cmap="cividis", aspect="auto")
        axes.set(xlabel=matrix.pairing.against, ylabel=matrix.pairing.role, title=title)
        axes.set_xticks(range(columns))
        axes.set_yticks(range(rows))
        _write(axes, values)
        svg = io.StringIO()
        save(figure, svg, metadata={"Date": None})
    return svg.getvalue()


def _write(axes: Any, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    """Write each value into its cell, for readers who cannot see colours."""
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "black" if value > 0.6 else "white"
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", color=colour, size=7
            )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def rate(contests: Iterable[MatchResult]) -> dict[str, Rating]:
    """Return the rating of every agent, by name.

    Ratings are updated game by game and hence depend on their order. To make the result a
    function of the contests alone, games are taken in rounds, one game of each contest in
    each, contests sorted by name, and the wins of a contest spread evenly over its games.
    Games of one contest count as independent, so a rating is surer than it should be
    where queries are alike.

    Raises:
        InvalidOption: shares outside [0, 1], or somebody against themselves.
    """
    rows = sorted(contests)
    for row in rows:
        if not 0.0 <= row.won <= 1.0 or row.n < 0 or row.agent == row.opponent:
            raise InvalidOption(f"{row} is no contest between two")
    # Checkpoints do not change: without tau a belief only narrows.
    model = PlackettLuce(tau=0.0)
    names = dict.fromkeys(name for row in rows for name in (row.agent, row.opponent))
    ratings = {name: model.rating() for name in names}
    games = dict.fromkeys(names, 0)
    for game in range(max((row.n for row in rows), default=0)):
        for row in rows:
            if game < row.n:
                ranks = [0.0, 1.0] if _wins(row, game) else [1.0, 0.0]
                pair = [[ratings[row.agent]], [ratings[row.opponent]]]
                [ratings[row.agent]], [ratings[row.opponent]] = model.rate(
                    pair, ranks=ranks
                )
                games[row.agent] += 1
                games[row.opponent] += 1
    return {name: Rating(r.mu, r.sigma, games[name]) for name, r in ratings.items()}


def _wins(row: MatchResult, game: int) -> bool:
    won = round(row.won * row.n)
    return (game + 1) * won // row.n > game * won // row.n
