"""Capabilities that a scenario may declare beside its rules, each with its contract.

A capability is a declared variant or fact. Whoever trains or measures asks here, and leaves
out what needs a capability that is not declared. `superalign_env.testing.check_scenario`
plays what is declared.
"""

from collections.abc import Callable, Mapping
from typing import Any

from superalign_env.protocols import Scenario
from superalign_env.types import Episode, Role, Seat

LOWEST_PAY = -1.0
"""What a veto pays where a scenario says nothing else."""


def variants_of(scenario: Scenario[Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the variants that a scenario declares: name → options that make it so.

    A scenario may have an attribute ``variants``. Whoever trains in it plays them: red-team
    has ``attacked`` (every case begins with the attacker), ``plain`` (none does) and
    ``planted`` (answers stand in the learner's place, whose truth the rules know). Stages
    that need a variant are left out where it is not declared.
    """
    variants: Mapping[str, Mapping[str, Any]] = getattr(scenario, "variants", {})
    return variants


def facts_of(scenario: Scenario[Any]) -> Mapping[str, Role]:
    """Return the facts that a scenario declares: name → the role that makes them.

    A scenario may have an attribute ``facts``. Its steps then hold them: ``judged`` (who
    judges), ``queries`` (who asks) and ``planted`` (in whose place answers stand). Red-team
    has ``{"queries": "attacker", "planted": "learner", "judged": "critic"}``. Stages that
    need a fact are left out where it is not declared; none knows a role by its name.
    """
    facts: Mapping[str, Role] = getattr(scenario, "facts", {})
    return facts


def opinions_of(scenario: Scenario[Any]) -> tuple[str, ...]:
    """Return the parts of pay that are opinions of a turn.

    A scenario may have an attribute ``opinions``. A person's label of the turn may replace
    these parts (`superalign_env.rewards.HumanPay`); in red-team it is ``("critic",)``.

    A label replaces what the author of the labelled turn is paid at that turn. So an opinion
    is paid at a turn of the seat that earns it, and for an opinion of an answer at that
    answer (``Reward(turn=…)``), however late it is given.

    Its value lies in [−1, 1] before weights: v stands for the score (v + 1) / 2. ``debias``
    cuts off what lies outside, and the run counts it (``people.clipped``).
    """
    opinions: tuple[str, ...] = getattr(scenario, "opinions", ())
    return opinions


def lowest_pay_of(scenario: Scenario[Any]) -> float:
    """Return the lowest pay of a turn, which a veto pays.

    A scenario may have an attribute ``lowest_pay``; −1 where it has none.
    """
    return float(getattr(scenario, "lowest_pay", LOWEST_PAY))


def baselines_of(scenario: Scenario[Any]) -> Mapping[Role, tuple[Any, ...]]:
    """Return the baselines of learning agents: role → references.

    A scenario may have an attribute ``baselines``; in red-team a learner stands beside
    ``always-comply`` and ``always-refuse``. They play the same held-out cases.
    """
    baselines: Mapping[Role, tuple[Any, ...]] = getattr(scenario, "baselines", {})
    return baselines


def winner_of(scenario: Scenario[Any], episode: Episode) -> Seat | None:
    """Return the seat that won an episode; None for nobody, or where games are not won.

    A scenario may have a method ``beats(episode) -> Seat | None``. It says who won by what
    players may know, never by the truth: opponents are chosen by it. An attribute ``beats``
    that is None says that games are not won.
    """
    beats: Callable[[Episode], Seat | None] | None = getattr(scenario, "beats", None)
    return None if beats is None else beats(episode)


def says_who_wins(scenario: Scenario[Any]) -> bool:
    """Return whether games of a scenario are won; see `winner_of`."""
    return getattr(scenario, "beats", None) is not None
