"""Which scenarios can be trained: with a seat for everybody who is, and tasks to play."""

from typing import Any

from superalign_env.errors import InvalidOption, SuperalignError
from superalign_env.lookup import make_scenario
from superalign_env.protocols import Scenario
from superalign_env.registry import entries, spell
from superalign_env.seeding import generator
from superalign_env.types import Role, Split, role_of
from superalign_training.settings import TRAINED, Settings

SPLITS_PLAYED: tuple[Split, ...] = ("train", "gate", "test")
"""Splits that the stages of self-play draw from."""


def require_seats(named: str | Scenario[Any]) -> None:
    """Raise unless a scenario has a seat for everybody who is trained.

    Args:
        named: a scenario, or the id of one, which is looked at as it is by default.

    Raises:
        InvalidOption: says who has no seat, and which scenarios have all.
    """
    missing = _missing(named)
    if missing:
        called = named if isinstance(named, str) else named.id
        raise InvalidOption(
            f"{called} cannot be trained: it has no seat for {', '.join(missing)}, and "
            f"self-play needs {', '.join(TRAINED)}; scenarios that can be trained: "
            f"{', '.join(trainable())} (superalign play plays any)"
        )


def require_tasks(scenario: Scenario[Any], settings: Settings) -> None:
    """Raise unless every split that a run of self-play needs has a task to draw.

    A chain of generations is not looked at: what it needs hangs on its settings.

    Raises:
        InvalidOption: the source says which split is empty.
    """
    if not settings.generations:
        for split in SPLITS_PLAYED:
            scenario.source.draw(generator(0), split)


def trainable() -> list[str]:
    """Return the scenarios that self-play can train."""
    return [spell(name).plain for name in entries("scenario") if _missing(name) == []]


def _missing(named: str | Scenario[Any]) -> list[Role] | None:
    """Return who has no seat; None where nobody can tell."""
    try:
        scenario: Scenario[Any] = make_scenario(named)
    except SuperalignError:
        return None
    roles = {role_of(seat) for seat in scenario.seats}
    return [role for role in TRAINED if role not in roles]
