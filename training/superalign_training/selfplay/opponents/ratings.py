"""Ratings of checkpoints with uncertainty, a pure function of match results.

Weng and Lin (2011), as openskill computes it. A rating is a normal belief; it is never
stored, because it can always be computed again from the contests.
"""

from collections.abc import Iterable
from typing import NamedTuple

from openskill.models import PlackettLuce

from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, normal


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
