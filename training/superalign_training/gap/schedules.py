"""Gap schedules that are fixed in advance: the baselines of an adaptive rule.

All advance with accepted generations. After a rollback a schedule tries again with half of the
steps that it wanted (a quarter after two rollbacks in a row, …, never less than one), and
goes on as planned once a generation was accepted; `Direct` knows one level only, and tries
that again. No schedule catches up: one that was rolled back may end below the top.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal

from superalign_env.errors import InvalidOption
from superalign_training.gap.controller import (
    GenerationStats,
    check_ladder,
    climb,
    standing,
)
from superalign_training.sections import Plural, Section


class Direct(Section):
    """From people to the top at once; further generations stay there.

    Those are taught by their equals: self-enhancement in the words of Kim et al. (2025).
    """

    id: Literal["direct"] = "direct"
    oracle: ClassVar[bool] = False

    def check(self, levels: int, generations: int) -> None:
        """Refuse an empty ladder."""
        check_ladder(levels, generations)

    def choose(
        self, history: Sequence[GenerationStats], *, levels: int, generations: int
    ) -> int:
        """Return the top."""
        return levels - 1


class _Stepwise(Section):
    """A schedule that is a list of gaps."""

    oracle: ClassVar[bool] = False

    @abstractmethod
    def gaps(self, levels: int, generations: int) -> tuple[int, ...]:
        """Return the steps before each generation; after the last there are none."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse an empty ladder."""
        check_ladder(levels, generations)

    def choose(
        self, history: Sequence[GenerationStats], *, levels: int, generations: int
    ) -> int:
        """Return the level to which the schedule's next gap leads."""
        level, accepted, failures, _ = standing(history)
        gaps = self.gaps(levels, generations)
        planned = gaps[accepted] if accepted < len(gaps) else 0
        steps = min(planned, levels - 1 - level)
        if steps and failures:
            steps = max(1, steps >> failures)
        return climb(level, steps, levels=levels)


class FixedSmall(_Stepwise):
    """One level a generation."""

    id: Literal["fixed-small"] = "fixed-small"

    def gaps(self, levels: int, generations: int) -> tuple[int, ...]:
        """Return ones."""
        return (1,) * generations


class FixedLarge(_Stepwise):
    """The same number of levels a generation."""

    id: Literal["fixed-large"] = "fixed-large"
    steps: Plural = 2
    """Levels from one generation to the next; the last gap may be smaller."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse a gap that is larger than the ladder.

        Raises:
            InvalidOption: says what to change.
        """
        check_ladder(levels, generations)
        if self.steps > levels:
            raise InvalidOption(
                f"gap.steps={self.steps} is more than the ladder has levels ({levels}); "
                "lower gap.steps, add levels, or take gap=direct"
            )

    def gaps(self, levels: int, generations: int) -> tuple[int, ...]:
        """Return the same number for every generation."""
        return (self.steps,) * generations


class _Growing(_Stepwise):
    """A schedule of at least one level a generation, up to the top."""

    id: str

    def check(self, levels: int, generations: int) -> None:
        """Refuse more generations than there are levels.

        Raises:
            InvalidOption: says what to change.
        """
        check_ladder(levels, generations)
        if generations > levels:
            raise InvalidOption(
                f"gap={self.id} climbs at least one level a generation, and {generations} "
                f"generations are more than the {levels} levels; lower generations, add "
                "levels, or take gap=adaptive"
            )


class Linear(_Growing):
    """Gaps that grow linearly: small while signals are noisy, large in the end.

    The gap annealing that Kim et al. (2025) propose, as an open question. Every gap is at
    least one level, and they add up to the ladder.
    """

    id: Literal["linear"] = "linear"

    def gaps(self, levels: int, generations: int) -> tuple[int, ...]:
        """Return gaps of 1 + k · (generation - 1) levels, rounded."""
        return growing(levels, generations)


class Reverse(_Growing):
    """The gaps of `Linear`, the largest first."""

    id: Literal["reverse"] = "reverse"

    def gaps(self, levels: int, generations: int) -> tuple[int, ...]:
        """Return the gaps of `Linear` from the last to the first."""
        return growing(levels, generations)[::-1]


def growing(levels: int, generations: int) -> tuple[int, ...]:
    """Return gaps of at least one level that grow linearly and add up to the ladder.

    Args:
        levels: to be climbed; at least as many as generations.
        generations: number of gaps.
    """
    spare = levels - generations
    weight = generations * (generations - 1) // 2
    reached = [
        (spare * count * (count - 1) + weight) // (2 * weight) if weight else spare * count
        for count in range(generations + 1)
    ]
    steps = (after - before for before, after in pairwise(reached))
    return tuple(sorted(1 + extra for extra in steps))
