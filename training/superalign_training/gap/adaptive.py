"""Gap controllers that read the statistics of generations: adaptive, probing, oracle.

A proposal, not a result: ``docs/gap.md`` has the rules as formulas and their figures.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat

from superalign_env.errors import InvalidOption
from superalign_training.gap.controller import (
    GenerationStats,
    check_ladder,
    climb,
    standing,
)
from superalign_training.sections import Count, Section, Share


class Adaptive(Section):
    """Larger gaps while signals are clean and students gain, smaller ones after trouble.

    Kim et al. (2025) ask for gaps that are small while signals are noisy and grow as they
    get cleaner, and give no rule. This one treats the gap as the radius of a trust region,
    and estimates three things from each accepted generation: the noise of its labels
    (`noise`), the errors that it copied (`copied_errors`) and its `gain`.
    """

    id: Literal["adaptive"] = "adaptive"
    oracle: ClassVar[bool] = False
    first_share: Share = 0.0
    """Share of the ladder that the first generation climbs, one level at least; from there
    on gaps begin at one level."""
    growth_factor: Annotated[float, Field(ge=1)] = 1.5
    """Factor of the gap, rounded up, when signals are clean and the generation gained."""
    shrink_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Factor of the gap, rounded down to one level at least, after a rollback and when
    errors were copied."""
    max_noise: Share = 0.3
    """Largest noise of clean signals."""
    max_copied: Share = 0.1
    """Largest share of labels that may be wrong and copied before the gap shrinks."""
    min_gain: float = 0.03
    """Smallest gain that counts as one."""
    gain_margin: NonNegativeFloat = 1.0
    """Standard errors that are added to the gain: a few labels more or less are no loss."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse an empty ladder and a chain without generations."""
        check_ladder(levels, generations)

    def choose(
        self, history: Sequence[GenerationStats], *, levels: int, generations: int
    ) -> int:
        """Return the level to which the next gap leads."""
        at = standing(history)
        if at.failures:
            return climb(at.level, self._smaller(at.tried), levels=levels)
        if not history:
            return climb(at.level, max(round(self.first_share * levels), 1), levels=levels)
        accepted = [stats for stats in history if stats.accepted]
        newest, before = accepted[-1], accepted[-2] if len(accepted) > 1 else None
        steps = max(newest.level - before.level, 1) if before else 1
        if copied_errors(newest) > self.max_copied:
            return climb(at.level, self._smaller(steps), levels=levels)
        if noise(newest) <= self.max_noise:
            if gain(newest, before, margin=self.gain_margin) >= self.min_gain:
                steps = math.ceil(steps * self.growth_factor)
            # Large enough for the generations that are left to reach the top.
            remaining = max(generations - len(history), 1)
            steps = max(steps, math.ceil((levels - 1 - at.level) / remaining))
        return climb(at.level, steps, levels=levels)

    def _smaller(self, steps: int) -> int:
        return max(int(steps * self.shrink_factor), 1)


def noise(stats: GenerationStats) -> float:
    """Return the estimated share of wrong labels, from disagreement and from people.

    Errors that sources share do not show in disagreement, so the share of people's labels
    that the generation misses counts too: it is the supervisor of the next one.
    """
    missed = 0.0 if stats.human_agreement is None else 1.0 - stats.human_agreement
    return max(noise_of_sources(stats), missed)


def noise_of_sources(stats: GenerationStats) -> float:
    """Return the error rate of sources whose errors are never shared, from disagreement.

    If both are right with probability 1 - e, they disagree with d = 1 - (1 - e)².
    """
    return 1.0 - math.sqrt(1.0 - min(max(stats.disagreement, 0.0), 1.0))


def copied_errors(stats: GenerationStats) -> float:
    """Return the estimated share of labels that are wrong and were copied.

    A student that knew better would differ from its labels where they are wrong: misfit
    would be the sources' error rate.
    """
    return max(noise_of_sources(stats) - stats.misfit, 0.0)


def gain(
    newest: GenerationStats, before: GenerationStats | None, *, margin: float
) -> float:
    """Return how much more of people's labels a generation agrees with than the one before.

    Where nobody was asked it is misfit times confidence: a student is better than its
    supervisor by at least the misfit if its answers can be realised (arXiv 2405.15116).

    Args:
        newest: the generation.
        before: the accepted one before it; None for the first, which is compared with 1/2.
        margin: standard errors of human agreement that are added.
    """
    if newest.human_agreement is None or (before and before.human_agreement is None):
        return newest.misfit * newest.confidence
    earlier = before.human_agreement if before else None
    variance = _variance(newest) + (_variance(before) if before else 0.0)
    difference = newest.human_agreement - (0.5 if earlier is None else earlier)
    return difference + margin * math.sqrt(variance)


def _variance(stats: GenerationStats) -> float:
    """Return the variance of human agreement, one right and one wrong label added."""
    share = stats.human_agreement if stats.human_agreement is not None else 0.5
    n = stats.human_labels + 2
    smooth = (share * stats.human_labels + 1) / n
    return smooth * (1 - smooth) / n


class Probing(Section):
    """Smallest gaps while they keep labels clean; equal steps to the top if they never do.

    What small gaps can buy is clean labels: if tasks grow harder with the level, a
    supervisor a little below still knows them. If labels are no cleaner at the foot of the
    ladder than anywhere else, small gaps buy nothing and cost capability. So the first
    generation probes the lowest level, and its `doubt` decides. This is not the annealing
    of Kim et al. (2025), which would keep gaps small while signals are noisy.
    """

    id: Literal["probing"] = "probing"
    oracle: ClassVar[bool] = False
    max_doubt: Share = 0.44
    """Largest doubt of a generation whose labels were clean."""
    steps: Count = 1
    """Levels from one generation to the next while labels are clean."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse an empty ladder and a chain without generations."""
        check_ladder(levels, generations)

    def choose(
        self, history: Sequence[GenerationStats], *, levels: int, generations: int
    ) -> int:
        """Return the next level.

        After a rollback half of the gap is tried, one level at least. If labels were clean
        at an accepted generation and no longer are, the next one stays at the level.
        """
        at = standing(history)
        if at.failures:
            return climb(at.level, max(at.tried // 2, 1), levels=levels)
        clean = [doubt(stats) <= self.max_doubt for stats in history if stats.accepted]
        if not clean:
            return 0
        if clean[-1]:
            return climb(at.level, self.steps, levels=levels)
        if any(clean):
            return at.level
        remaining = max(generations - len(history), 1)
        return climb(at.level, -(-(levels - 1 - at.level) // remaining), levels=levels)


def doubt(stats: GenerationStats) -> float:
    """Return the mean of misfit and missing confidence, in [0, 1]."""
    return (stats.misfit + 1.0 - stats.confidence) / 2


class Oracle(Section):
    """The highest level whose capacity is close to its supervisor's utility.

    δ = C(A_{i+1}) - U(A_i⁺) of Kim et al. (2025), with both terms read from gold labels.
    An upper bound to compare with, no method: its chains are reported as ``oracle``. After
    each rollback the largest gap is halved.
    """

    id: Literal["oracle"] = "oracle"
    oracle: ClassVar[bool] = True
    capacities: tuple[Share, ...] = ()
    """Of every level, with gold labels; `superalign ladder show` prints them."""
    utilities: tuple[Share, ...] = ()
    """By the truth: of people, then of accepted generations, as far as they are known. A
    generation that is missing counts with the capacity of its level."""
    max_gap: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Largest gap, in gold accuracy."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse a ladder whose capacities are not known.

        Raises:
            InvalidOption: says what to change.
        """
        check_ladder(levels, generations)
        if len(self.capacities) != levels or not self.utilities:
            raise InvalidOption(
                f"gap=oracle needs the gold capacity of each of the {levels} levels and the "
                "utility of people: gap={id: oracle, capacities: [0.6, …], utilities: "
                f"[0.7]}}; got {len(self.capacities)} capacities and "
                f"{len(self.utilities)} utilities"
            )

    def informed(self, utilities: Sequence[float]) -> Self:
        """Return a copy of the controller with these utilities.

        Args:
            utilities: of people, then of accepted generations, oldest first.
        """
        return self.model_copy(update={"utilities": tuple(utilities)})

    def choose(
        self, history: Sequence[GenerationStats], *, levels: int, generations: int
    ) -> int:
        """Return the highest level within the largest gap, or the next one."""
        at = standing(history)
        is_measured = at.accepted < len(self.utilities)
        able = self.utilities[at.accepted] if is_measured else self.capacities[at.level]
        bound = able + self.max_gap / 2**at.failures
        within = [level for level in range(levels) if self.capacities[level] <= bound]
        nearest = climb(at.level, 1, levels=levels)
        return max([*within, nearest])
