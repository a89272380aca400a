"""Experience that is made while learning: episodes of the newest policy."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from superalign_training.experience.rows import Row

PlayCases = Callable[[int, int], Sequence[Row]]
"""(first case, how many cases) → the learner's rows of all members of those cases."""


class Experience(Protocol):
    """Episodes to learn from, live or stored."""

    @property
    def play(self) -> PlayCases:
        """Gives the rows of further cases."""
        ...

    @property
    def cap(self) -> float | None:
        """Where the importance weights of what other weights said are cut off (rho-bar).

        None: the newest policy said it all, nothing is weighed. Else `Row.origin` says of
        each row whether it is.
        """
        ...


class Live(NamedTuple):
    """Episodes that a policy plays as it is at that moment."""

    play: PlayCases
    cap: float | None = None
    """What the policy has just said itself needs no importance weights; late answers bring
    back what it said before."""
