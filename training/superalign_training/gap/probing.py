"""Climb slowly where that keeps labels clean, and fast where it does not.

What small gaps can buy is clean labels: if tasks grow harder with the level, a supervisor a
little below still knows them. If labels are no cleaner at the foot of the ladder than
anywhere else, small gaps buy nothing and cost capability. So the first generation probes
the lowest level, and its *doubt* decides:

    doubt = (misfit + 1 - confidence) / 2

A student differs from labels that contradict each other, and is unsure of itself. This is
not the annealing of Kim et al. (2025), which would keep gaps small while signals are noisy.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

from superalign_training.gap.history import check_ladder, climb, standing
from superalign_training.gap.sight import Sight
from superalign_training.sections import Count, Section, Share


class Probing(Section):
    """Smallest gaps while they keep labels clean; equal steps to the top if they never do."""

    id: Literal["probing"] = "probing"
    oracle: ClassVar[bool] = False
    clean: Share = 0.44
    """Labels of a generation were clean if its doubt is at most this."""
    steps: Count = 1
    """Levels from one generation to the next while labels are clean."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse an empty ladder and a chain without generations."""
        check_ladder(levels, generations)

    def choose(self, sights: Sequence[Sight], *, levels: int, generations: int) -> int:
        """Return the next level.

        After a rollback half of the gap is tried, one level at least. If labels were clean
        at an accepted generation and no longer are, the next one stays at the level.
        """
        at = standing(sights)
        if at.failures:
            return climb(at.level, max(at.tried // 2, 1), levels=levels)
        clean = [doubt(sight) <= self.clean for sight in sights if sight.accepted]
        if not clean:
            return 0
        if clean[-1]:
            return climb(at.level, self.steps, levels=levels)
        if any(clean):
            return at.level
        left = max(generations - len(sights), 1)
        return climb(at.level, -(-(levels - 1 - at.level) // left), levels=levels)


def doubt(sight: Sight) -> float:
    """Return how far a generation contradicts its labels and is unsure of itself."""
    return (sight.misfit + 1.0 - sight.confidence) / 2
