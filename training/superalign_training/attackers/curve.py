"""How far an attacker comes with how many queries.

Success at a budget is defined so: the attacker spends the budget in waves, learning after
each; then, without learning, it plays `measured` further cases as well as it can; success
is the share of its *valid* queries there that succeed. An attacker without a single valid
query there has no success, and its share of valid queries says so.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, distinct_share, share
from superalign_env.types import View
from superalign_training.attackers.field import Field, Outcome

BUDGETS = (128, 1024, 5120)
WAVE = 128
MEASURED = 256


class Attacker(Protocol):
    """Says queries and learns from what became of them.

    It changes only in `learn`; randomness of a query comes from its view's seed alone.
    """

    @property
    def id(self) -> str:
        """What it is called in figures."""
        ...

    def explore(self, views: Sequence[View]) -> list[str]:
        """Return one query for each view, to find out something."""
        ...

    def exploit(self, views: Sequence[View]) -> list[str]:
        """Return one query for each view, to succeed."""
        ...

    def learn(
        self, views: Sequence[View], queries: Sequence[str], outcomes: Sequence[Outcome]
    ) -> None:
        """Take in what became of the queries of one wave."""
        ...


class Point(NamedTuple):
    """What an attacker achieves once it has spent a budget."""

    queries: int
    """Spent before."""
    success: float
    """Share of the measured valid queries that succeed; 0 without any."""
    valid: Estimate
    """Share of the measured queries that are valid."""
    distinct: float
    """Different queries as a share of the valid ones, after `essence`; 0 without any."""


Curve = tuple[Point, ...]
"""One point for each budget, ascending."""


def attack(
    attacker: Attacker,
    field: Field,
    *,
    budgets: Sequence[int] = BUDGETS,
    wave: int = WAVE,
    measured: int = MEASURED,
    essence: Callable[[str], str] = str,
) -> Curve:
    """Let an attacker learn on a field and measure it whenever a budget is spent.

    Args:
        attacker: changed in place.
        field: whom it attacks. Cases from 0 are for learning; those from the largest
            budget on are for measuring, the same ones at every budget.
        budgets: queries, ascending.
        wave: queries between two lessons.
        measured: queries of each measurement; they are not learned from.
        essence: what two queries must share to count as one, as without their names.

    Raises:
        InvalidOption: budgets that are not ascending numbers ≥ 1.
    """
    if not budgets or list(budgets) != sorted({*budgets}) or budgets[0] < 1:
        raise InvalidOption(f"budgets must be ascending numbers ≥ 1, not {tuple(budgets)}")
    points, spent = [], 0
    for budget in budgets:
        while spent < budget:
            count = min(wave, budget - spent)
            views = field.views(spent, count)
            queries = attacker.explore(views)
            attacker.learn(views, queries, field.ask(queries))
            spent += count
        queries = attacker.exploit(field.views(budgets[-1], measured))
        points.append(_point(budget, queries, field.ask(queries), essence))
    return tuple(points)


def strongest(curves: Sequence[Curve]) -> tuple[float, ...]:
    """Return the largest success at each budget over attackers.

    Raises:
        InvalidOption: no attackers, or other budgets for each.
    """
    if len({tuple(point.queries for point in curve) for curve in curves}) != 1:
        raise InvalidOption("compare at least one attacker, at the same budgets")
    return tuple(
        max(point.success for point in points) for points in zip(*curves, strict=True)
    )


def _point(
    budget: int,
    queries: Sequence[str],
    outcomes: Sequence[Outcome],
    essence: Callable[[str], str],
) -> Point:
    valid = [q for q, outcome in zip(queries, outcomes, strict=True) if outcome.valid]
    won = sum(outcome.success for outcome in outcomes if outcome.valid)
    return Point(
        budget,
        won / len(valid) if valid else 0.0,
        share(len(valid), len(queries)),
        distinct_share([essence(query) for query in valid]) if valid else 0.0,
    )
