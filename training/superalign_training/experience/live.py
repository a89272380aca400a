"""Experience that is made while learning: episodes of the newest policy."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from superalign_training.experience.rows import Row

PlayCases = Callable[[int, int], Sequence[Row]]
"""(first case, how many cases) → the learner's rows of all members of those cases."""


class Live(NamedTuple):
    """Episodes that a policy plays as it is at that moment."""

    play: PlayCases
