"""Capabilities of a scenario: roles by declared facts, and variants."""

from itertools import combinations
from typing import Any, NamedTuple

from superalign_env.capabilities import (
    baselines_of,
    facts_of,
    says_who_wins,
    variants_of,
)
from superalign_env.errors import InvalidOption
from superalign_env.protocols import HasGold, Scenario
from superalign_env.types import Role, role_of
from superalign_training.selfplay.opponents.settings import Pairing
from superalign_training.selfplay.settings import Settings


class Needs(NamedTuple):
    """A capability that a stage needs; without it the plan leaves the stage out."""

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


class ScenarioCapabilities(NamedTuple):
    """Roles of a scenario by their declared facts, its variants and gold; empty where undeclared."""

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
        """Whether the scenario declares all of these."""
        return set(needs.facts) <= self.facts and set(needs.variants) <= self.variants

    def lacks(self, needs: Needs) -> str:
        """Return a sentence on the missing declarations."""
        lacking = [
            *[f"fact {name}" for name in needs.facts if name not in self.facts],
            *[f"variant {name}" for name in needs.variants if name not in self.variants],
        ]
        return f"{self.scenario} declares no {', no '.join(lacking)}"


def scenario_capabilities(scenario: Scenario[Any]) -> ScenarioCapabilities:
    """Return the capabilities that a scenario declares."""
    facts = facts_of(scenario)
    return ScenarioCapabilities(
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


def league_roles(settings: Settings, capabilities: ScenarioCapabilities) -> list[Role]:
    """Return the roles with past checkpoints in play, in seat order; empty for fewer than two.

    Whoever judges is no opponent, and an agent that improves itself keeps no past.
    """
    learning = {settings.holder(role) for role in settings.learning}
    roles = [
        role
        for role in capabilities.roles
        if role != capabilities.judges
        and settings.holder(role) in learning
        and not settings.own(settings.holder(role))
    ]
    return roles if len(set(map(settings.holder, roles))) > 1 else []


def rated_pairings(settings: Settings, capabilities: ScenarioCapabilities) -> list[Pairing]:
    """Return the pairs of roles that a league rates, the attacker first.

    Every pair of different policies where the scenario says who wins; whoever asks against
    the others where critics say what became of queries; else nobody.
    """
    roles = sorted(
        league_roles(settings, capabilities), key=lambda role: role != capabilities.asks
    )
    pairs = [
        Pairing(*pair)
        for pair in combinations(roles, 2)
        if settings.holder(pair[0]) != settings.holder(pair[1])
    ]
    if capabilities.wins:
        return pairs
    return [p for p in pairs if p.role == capabilities.asks and capabilities.can(ATTACKED)]


def tried_pairing(settings: Settings, capabilities: ScenarioCapabilities) -> Pairing | None:
    """Return the pair of roles that is measured by gold labels: attacker and learner."""
    pair = Pairing(capabilities.asks, capabilities.answers)
    is_rated = capabilities.can(ATTACKED) and pair in rated_pairings(settings, capabilities)
    return pair if is_rated else None


def require_simulable(scenario: Scenario[Any]) -> HasGold:
    """Return a scenario with gold answers, by which people can be simulated.

    Raises:
        InvalidOption: in this one they cannot.
    """
    if isinstance(scenario, HasGold):
        return scenario
    raise InvalidOption(
        f"nobody can simulate people in {scenario.id}: it has no method gold(episode, turn, "
        "group), which says what an ideal label is; add it, or set people.mode=continue (or "
        "wait) and answer with `superalign label RUN`, or budget=0 to ask nobody"
    )
