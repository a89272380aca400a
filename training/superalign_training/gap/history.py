"""Where a chain stands, read from what was seen of its generations."""

from collections.abc import Sequence
from typing import NamedTuple

from superalign_env.errors import InvalidOption
from superalign_training.gap.sight import Sight

PEOPLE = -1
"""The level of those who supervise the first generation."""


class Standing(NamedTuple):
    """Of a chain before its next generation."""

    level: int
    """Of the newest accepted generation; `PEOPLE` before the first."""
    accepted: int
    """How many generations were accepted."""
    failures: int
    """How many were rolled back since."""
    tried: int
    """Steps of the newest attempt if it was rolled back, else 0."""


def standing(sights: Sequence[Sight]) -> Standing:
    """Return where a chain stands."""
    level, accepted, failures, tried = PEOPLE, 0, 0, 0
    for sight in sights:
        if sight.accepted:
            level, accepted, failures, tried = sight.level, accepted + 1, 0, 0
        else:
            failures, tried = failures + 1, sight.level - level
    return Standing(level, accepted, failures, tried)


def climb(level: int, steps: int, *, levels: int) -> int:
    """Return the level that many steps above, or the top of the ladder."""
    return min(max(level + steps, 0), levels - 1)


def check_ladder(levels: int, generations: int) -> None:
    """Refuse a ladder without levels and a chain without generations.

    Raises:
        InvalidOption: says what to change.
    """
    if levels < 1:
        raise InvalidOption("a chain needs a ladder of at least one level; add to levels")
    if generations < 1:
        raise InvalidOption("a chain needs at least one generation; raise generations")
