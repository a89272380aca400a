"""What stages know of a scenario: roles by the facts that it declares, and its variants."""

from typing import Any, NamedTuple

from superalign_env.capabilities import (
    baselines_of,
    facts_of,
    says_who_wins,
    variants_of,
)
from superalign_env.protocols import HasGold, Scenario
from superalign_env.types import Role, role_of


class Needs(NamedTuple):
    """What a stage needs of a scenario; without it the plan leaves the stage out."""

    facts: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()


ATTACKED = Needs(("queries", "judged"), ("attacked",))
"""Queries are asked in every case, and somebody says what became of them."""

PLANTED = Needs(("judged", "planted"), ("planted",))
"""Answers of known worth are judged in every case."""

JUDGED = Needs(("judged",))

DEPLOYED = Needs(("judged",), ("plain",))
"""Tasks are answered as they are, and the answers judged."""

SUPERVISED = Needs(("planted", "judged"), ("revised",))
"""Answers are judged and given again."""


class Parts(NamedTuple):
    """The roles of a scenario by what they do in it; empty where no fact tells."""

    scenario: str
    roles: tuple[Role, ...]
    """All of them, in seat order."""
    asks: Role
    answers: Role
    """In whose place answers are planted."""
    judges: Role
    facts: frozenset[str]
    variants: frozenset[str]
    has_gold: bool
    """Whether people can be simulated."""
    baselines: int
    """How many there are."""
    wins: bool
    """Whether it says who wins."""

    def can(self, needs: Needs) -> bool:
        """Whether the scenario declares all of it."""
        return set(needs.facts) <= self.facts and set(needs.variants) <= self.variants

    def lacks(self, needs: Needs) -> str:
        """Say what the scenario does not declare."""
        lacking = [
            *[f"fact {name}" for name in needs.facts if name not in self.facts],
            *[f"variant {name}" for name in needs.variants if name not in self.variants],
        ]
        return f"{self.scenario} declares no {', no '.join(lacking)}"


def parts_of(scenario: Scenario[Any]) -> Parts:
    """Return the roles of a scenario by the facts that it declares."""
    facts = facts_of(scenario)
    return Parts(
        scenario.id,
        tuple(dict.fromkeys(map(role_of, scenario.seats))),
        facts.get("queries", ""),
        facts.get("planted", ""),
        facts.get("judged", ""),
        frozenset(facts),
        frozenset(variants_of(scenario)),
        isinstance(scenario, HasGold),
        sum(map(len, baselines_of(scenario).values())),
        says_who_wins(scenario),
    )
