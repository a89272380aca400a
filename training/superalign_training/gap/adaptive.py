"""A gap that follows the signals: a proposal, not a result; see ``docs/gap.md``.

Kim et al. (2025) ask for gaps that are small while signals are noisy and grow as they get
cleaner, and give no rule (papers, open question 1). This one treats the gap as the radius
of a trust region. After each accepted generation three things are estimated from what may
be seen without the truth:

* **noise** of its labels. If two sources are right with probability 1 - e each, and wrong
  answers never coincide, they disagree with probability d = 1 - (1 - e)²; so
  e = 1 - √(1 - d). Errors that sources share are invisible here, which is why the share of
  people's labels that the generation itself misses is looked at too: it is the supervisor
  of the next. The larger of the two counts.
* **copied** errors. A student that knows better differs from its label where that is
  wrong, so its misfit would be e. If misfit is m < e, then e - m of all labels are wrong
  and were believed all the same: imitation.
* **gain**: how much more of people's labels the generation agrees with than the accepted
  one before it, or than a guess of one in two where it is the first. Where nobody was
  asked it is misfit times confidence: a student is better than its supervisor by at least
  the misfit if its answers can be realised (arXiv 2405.15116), and this believes that as
  far as the student itself does.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from superalign_training.gap.history import check_ladder, climb, standing
from superalign_training.gap.sight import Sight
from superalign_training.sections import Section, Share


class Adaptive(Section):
    """Larger gaps while signals are clean and students gain, smaller ones after trouble."""

    id: Literal["adaptive"] = "adaptive"
    oracle: ClassVar[bool] = False
    first: Share = 0.0
    """Share of the ladder that the first generation climbs, one level at least, when
    nothing has been seen yet; from there on gaps begin at one level. 0 begins as small as
    can be."""
    grow: Annotated[float, Field(ge=1)] = 1.5
    """The gap is multiplied with this, rounded up, when signals are clean and the
    generation gained."""
    shrink: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The gap is multiplied with this, rounded down to one level at least, after a
    rollback and when errors were copied."""
    clean: Share = 0.3
    """Signals are clean while noise is at most this."""
    copied: Share = 0.1
    """The gap shrinks when more than this share of labels is wrong and believed."""
    salient: float = 0.03
    """A generation gained when its gain is at least this."""
    sure: NonNegativeFloat = 1.0
    """Standard errors that are added to the gain before: a few labels more or less are no
    loss."""
    arrive: bool = True
    """Whether, while signals are clean, gaps are at least so large that the generations
    that are left can reach the top in equal steps."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse an empty ladder and a chain without generations."""
        check_ladder(levels, generations)

    def choose(self, sights: Sequence[Sight], *, levels: int, generations: int) -> int:
        """Return the level to which the next gap leads; see the module's text."""
        at = standing(sights)
        if at.failures:
            return climb(at.level, self._smaller(at.tried), levels=levels)
        if not sights:
            return climb(at.level, max(round(self.first * levels), 1), levels=levels)
        accepted = [sight for sight in sights if sight.accepted]
        last, before = accepted[-1], accepted[-2] if len(accepted) > 1 else None
        steps = max(last.level - before.level, 1) if before else 1
        if copied_errors(last) > self.copied:
            return climb(at.level, self._smaller(steps), levels=levels)
        if noise(last) <= self.clean:
            if gain(last, before, sure=self.sure) >= self.salient:
                steps = math.ceil(steps * self.grow)
            if self.arrive:
                left = max(generations - len(sights), 1)
                steps = max(steps, math.ceil((levels - 1 - at.level) / left))
        return climb(at.level, steps, levels=levels)

    def _smaller(self, steps: int) -> int:
        return max(int(steps * self.shrink), 1)


def noise(sight: Sight) -> float:
    """Return the estimated share of wrong labels, from disagreement and from people."""
    missed = 0.0 if sight.human_agreement is None else 1.0 - sight.human_agreement
    return max(noise_of_sources(sight), missed)


def noise_of_sources(sight: Sight) -> float:
    """Return the error rate of sources that disagree as these do, errors never shared."""
    return 1.0 - math.sqrt(1.0 - min(max(sight.disagreement, 0.0), 1.0))


def copied_errors(sight: Sight) -> float:
    """Return the estimated share of labels that are wrong and were believed."""
    return max(noise_of_sources(sight) - sight.misfit, 0.0)


def gain(last: Sight, before: Sight | None, *, sure: float) -> float:
    """Return by how much a generation is better than the one before it.

    Args:
        last: the generation.
        before: the accepted one before it; None for the first.
        sure: standard errors of human agreement that are added.
    """
    if last.human_agreement is None or (before and before.human_agreement is None):
        return last.misfit * last.confidence
    earlier = before.human_agreement if before else None
    variance = _variance(last) + (_variance(before) if before else 0.0)
    difference = last.human_agreement - (0.5 if earlier is None else earlier)
    return difference + sure * math.sqrt(variance)


def _variance(sight: Sight) -> float:
    """Return the variance of human agreement, one right and one wrong label added."""
    share = sight.human_agreement if sight.human_agreement is not None else 0.5
    n = sight.human_labels + 2
    smooth = (share * sight.human_labels + 1) / n
    return smooth * (1 - smooth) / n
