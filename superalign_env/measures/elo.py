"""Elo of players against tasks, every solved task a game won.

P(player solves task) = 1/(1 + 10^((D − E)/400)), E of the player and D of the task fitted
together to all games on one ladder of tasks (binomial likelihood, as in Engels et al. 2025).
A difference of Elo means the same everywhere on the ladder, which one of accuracy does not:
from 0.98 to 0.99 is as far as from 0.50 to 0.67.
"""

from collections.abc import Iterable, Mapping
from math import log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_env.errors import InvalidOption
from superalign_env.measures.intervals import Estimate, normal

Numbers = npt.NDArray[np.float64]

MIDDLE = 1000.0
"""Mean difficulty of the tasks."""

_UNIT = 400.0 / log(10.0)
"""Elo points of one natural log-odds."""


class Games(NamedTuple):
    """Games of one player against one task, or one rung of equally hard tasks."""

    player: str
    task: str
    won: float
    """Games of these; a half for half an answer."""
    n: int


class Elo(NamedTuple):
    """Elo of all players and tasks of one ladder."""

    players: Mapping[str, Estimate]
    tasks: Mapping[str, Estimate]
    """Their difficulty; its mean is 1000."""
    names: tuple[str, ...]
    """Of the players, in the order of `covariance`."""
    covariance: Numbers
    """[P, P] of the players' Elo: they share the uncertainty of the tasks."""

    def gap(self, ours: str, theirs: str) -> Estimate:
        """Return the Elo difference of two players.

        Raises:
            KeyError: nobody is called so.
        """
        mine, other = self.players[ours], self.players[theirs]
        a, b = self.names.index(ours), self.names.index(theirs)
        cov = self.covariance
        variance = max(0.0, float(cov[a, a] + cov[b, b] - 2.0 * cov[a, b]))
        return normal(mine.value - other.value, variance**0.5, min(mine.n, other.n))

    def expected(self, player: str, task: str) -> float:
        """Return the probability that a player solves a task."""
        return win_probability(self.players[player].value, self.tasks[task].value)


def win_probability(ours: float, theirs: float) -> float:
    """Return the probability that the first of two Elo ratings wins."""
    return float(1.0 / (1.0 + 10.0 ** ((theirs - ours) / 400.0)))


def fit_elo(
    games: Iterable[Games], *, spread: float = 1000.0, most_steps: int = 100
) -> Elo:
    """Fit Elo by maximum likelihood over everything that was won.

    Who solves everything would be infinitely strong: a weak belief that players and tasks
    lie `spread` points (one standard deviation) around the middle keeps them finite. It
    hardly moves anybody who wins some and loses some. Intervals are those of the normal
    approximation at the maximum; games of one cell count as independent.

    Args:
        games: of at least one player and one task.
        spread: of that belief, in points.
        most_steps: of Newton's method.

    Raises:
        InvalidOption: no games, more won than played, or a spread that is not above zero.
    """
    rows = [row for row in games if row.n]
    if not rows:
        raise InvalidOption("no games, no Elo; give each player's wins on the tasks")
    if not spread > 0:
        raise InvalidOption(f"spread={spread}; take a number of points above zero")
    for row in rows:
        if row.n < 0 or not 0.0 <= row.won <= row.n:
            raise InvalidOption(f"{row.player} cannot win {row.won} of {row.n} games")
    players = tuple(sorted({row.player for row in rows}))
    tasks = tuple(sorted({row.task for row in rows}))
    won, n = np.zeros((2, len(players), len(tasks)))
    for row in rows:
        won[players.index(row.player), tasks.index(row.task)] += row.won
        n[players.index(row.player), tasks.index(row.task)] += row.n
    value, covariance = _fitted(won, n, _UNIT / spread, most_steps)
    return _read(players, tasks, n, value * _UNIT, covariance * _UNIT**2)


def _fitted(
    won: Numbers, n: Numbers, precision: float, most_steps: int
) -> tuple[Numbers, Numbers]:
    """Return strengths, then difficulties, in log-odds [P + T], and their covariance."""
    count = len(n)
    value = np.zeros(sum(n.shape))
    curve = np.eye(len(value))
    for _ in range(most_steps):
        odds = value[:count, None] - value[None, count:]
        chance = 1.0 / (1.0 + np.exp(-odds))
        surplus, weight = won - n * chance, n * chance * (1.0 - chance)
        slope = np.concatenate([surplus.sum(1), -surplus.sum(0)]) - precision**2 * value
        curve = np.block(
            [[np.diag(weight.sum(1)), -weight], [-weight.T, np.diag(weight.sum(0))]]
        ) + precision**2 * np.eye(len(value))
        # The likelihood is concave, but Newton overshoots from afar: bounded steps do not.
        step = np.clip(np.linalg.solve(curve, slope), -2.0, 2.0)
        value = value + step
        if np.abs(step).max() < 1e-10:
            break
    return value, np.asarray(np.linalg.inv(curve), np.float64)


def _read(
    players: tuple[str, ...],
    tasks: tuple[str, ...],
    n: Numbers,
    value: Numbers,
    covariance: Numbers,
) -> Elo:
    """Shift ratings so that the mean of the tasks becomes the middle."""
    count = len(players)
    measured = np.eye(len(value))
    measured[:, count:] -= 1.0 / len(tasks)
    value = measured @ value + MIDDLE
    covariance = measured @ covariance @ measured.T
    deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    counts = [int(k) for k in (*n.sum(1), *n.sum(0))]
    rows = [
        normal(float(v), float(d), k)
        for v, d, k in zip(value, deviation, counts, strict=True)
    ]
    return Elo(
        dict(zip(players, rows[:count], strict=True)),
        dict(zip(tasks, rows[count:], strict=True)),
        players,
        covariance[:count, :count],
    )
