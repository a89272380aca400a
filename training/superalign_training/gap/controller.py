"""What chooses the gap: from which level the next generation starts."""

from collections.abc import Sequence
from typing import Protocol

from superalign_training.gap.sight import Sight


class GapController(Protocol):
    """Chooses levels for the generations of a chain; its settings are the fields.

    A level is an index on a ladder of agents of rising capability; people stand below its
    first level. A gap is the number of levels from the newest accepted generation, or from
    people, up to the next one: δ of Kim et al. (2025) counted in steps of the ladder.
    """

    @property
    def id(self) -> str:
        """As the registry knows it."""
        ...

    @property
    def oracle(self) -> bool:
        """Whether it was told anything that gold labels say; such a chain is reported so."""
        ...

    def check(self, levels: int, generations: int) -> None:
        """Refuse what cannot work, before anything is trained.

        Args:
            levels: number of levels on the ladder.
            generations: wanted in all.

        Raises:
            InvalidOption: says what to change.
        """
        ...

    def choose(self, sights: Sequence[Sight], *, levels: int, generations: int) -> int:
        """Return the level of the next generation; a pure function of what was seen.

        Args:
            sights: of all finished generations, oldest first, accepted or not.
            levels: number of levels on the ladder.
            generations: wanted in all, those that were rolled back included.

        Returns:
            An index in [0, levels).
        """
        ...
