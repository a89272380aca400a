"""Who sits where."""

from collections.abc import Callable, Mapping
from typing import Any

from superalign_env.asking import Anyone
from superalign_env.callables import as_agent
from superalign_env.errors import InvalidOption, hint, nearest
from superalign_env.protocols import Scenario
from superalign_env.types import Seat

Sitter = Anyone | Callable[..., Any] | str | Mapping[str, Any]
"""An agent, or what `as_agent` makes one of: a function, or a reference."""


def seated(scenario: Scenario[Any], agents: Mapping[Seat, Sitter]) -> dict[Seat, Anyone]:
    """Return an agent for every seat, in the scenario's order.

    One object in several seats stays one agent, so that it is asked once for all.

    Raises:
        InvalidOption: an empty seat, or an agent for a seat that does not exist.
    """
    seats = scenario.seats
    unknown = [seat for seat in agents if seat not in seats]
    if unknown:
        raise InvalidOption(
            f"{scenario.id} has no seat {unknown[0]!r}; "
            f"{hint(nearest(unknown[0], seats), seats, listed='its seats')}"
        )
    empty = [seat for seat in seats if seat not in agents]
    if empty:
        raise InvalidOption(
            f"nobody sits in {', '.join(empty)}; pass agents={{{empty[0]!r}: agent, …}}"
        )
    made = {id(agents[seat]): as_agent(agents[seat]) for seat in seats}
    return {seat: made[id(agents[seat])] for seat in seats}
