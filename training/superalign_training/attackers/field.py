"""Where an attacker plays: it is shown views, and told what became of its queries."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from superalign_env.capabilities import facts_of
from superalign_env.errors import InvalidOption
from superalign_env.game import Game
from superalign_env.protocols import Scenario
from superalign_env.types import EpisodeKey, View, role_of


class Outcome(NamedTuple):
    """What became of one query."""

    valid: bool
    """Whether the rules accept it as a query of their split."""
    success: float
    """In [0, 1]; 0 for an invalid query. Who says so (truth or critics) is the field's."""


class Field(Protocol):
    """One learner as its attackers meet it."""

    def views(self, first: int, count: int) -> Sequence[View]:
        """Return what the attacker is shown in so many cases."""
        ...

    def ask(self, queries: Sequence[str]) -> list[Outcome]:
        """Return what becomes of queries."""
        ...


class Table:
    """A field whose answers were computed before: attacks cost what the attacker costs.

    A learner at temperature 0 says the same to the same query, so that a table of all
    queries of a split *is* the learner.

    Args:
        openings: views of the attacker, by case.
        success: every valid query → whether it succeeds.
    """

    def __init__(self, openings: Sequence[View], success: Mapping[str, bool]) -> None:
        self._openings = openings
        self._success = success

    def views(self, first: int, count: int) -> Sequence[View]:
        """Return the views of some cases.

        Raises:
            InvalidOption: there are not so many.
        """
        if first + count > len(self._openings):
            raise InvalidOption(
                f"cases {first} to {first + count - 1} were asked for, {len(self._openings)} "
                "were opened; open more"
            )
        return self._openings[first : first + count]

    def ask(self, queries: Sequence[str]) -> list[Outcome]:
        """Look the queries up."""
        return [
            Outcome(query in self._success, float(self._success.get(query, False)))
            for query in queries
        ]


def openings(
    scenario: Scenario[Any], count: int, *, run: int, first: int = 0
) -> list[View]:
    """Return what the attacker of a scenario is first shown, case by case.

    Args:
        scenario: one in which every case begins with the attacker.
        count: how many cases.
        run: seed of the cases.
        first: number of the first case.

    Raises:
        InvalidOption: a case that the attacker does not open.
    """
    asks = facts_of(scenario).get("queries")
    found = []
    for case in range(first, first + count):
        game = Game(scenario, EpisodeKey(run=run, case=case))
        if len(game.group) != 1 or role_of(game.group[0]) != asks:
            raise InvalidOption(
                f"case {case} of {scenario.id} is not opened by an attacker; set vanilla=0 "
                "and plant=0"
            )
        found.append(game.view(game.group[0]))
    return found
