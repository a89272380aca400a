"""Place of a message among the exchanges of a game, as a view tells it to who asks."""

import re
from typing import NamedTuple

from superalign_env.types import Turn, View

_PLACE = re.compile(r"message (\d+) of (\d+)")


class Exchange(NamedTuple):
    """Number of a message, from 1, and how many there are."""

    number: int
    total: int


def exchange_turn(number: int, total: int) -> Turn:
    """Return the turn by which the rules tell a seat which message it writes."""
    return Turn("world", f"message {number} of {total}")


def exchange_of(view: View) -> Exchange:
    """Return the place that a view tells last; the only message of one where it tells none."""
    for turn in reversed(view.turns):
        match = _PLACE.fullmatch(turn.text) if turn.author == "world" else None
        if match:
            return Exchange(int(match[1]), int(match[2]))
    return Exchange(1, 1)
