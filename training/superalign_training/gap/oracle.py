"""A controller that is told gold accuracies: an upper bound to compare with, no method."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from superalign_env.errors import InvalidOption
from superalign_training.gap.history import check_ladder, climb, standing
from superalign_training.gap.sight import Sight
from superalign_training.sections import Section, Share


class Oracle(Section):
    """The highest level whose capacity is within reach of its supervisor's utility.

    δ = C(A_{i+1}) - U(A_i⁺) of Kim et al. (2025), with both terms read from gold labels.
    Chains that it controls are reported as ``oracle``. After rollbacks reach is halved,
    once for each.
    """

    id: Literal["oracle"] = "oracle"
    oracle: ClassVar[bool] = True
    capacities: tuple[Share, ...] = ()
    """Of every level, with gold labels; `superalign ladder show` prints them."""
    utilities: tuple[Share, ...] = ()
    """By the truth: of people, then of accepted generations, as far as they are known. A
    generation that is missing counts with the capacity of its level."""
    reach: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The largest gap that is wanted."""

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
        """Return the controller that also knows these utilities.

        Args:
            utilities: of people, then of accepted generations, oldest first.
        """
        return self.model_copy(update={"utilities": tuple(utilities)})

    def choose(self, sights: Sequence[Sight], *, levels: int, generations: int) -> int:
        """Return the highest level within reach, or the next one."""
        at = standing(sights)
        known = at.accepted < len(self.utilities)
        able = self.utilities[at.accepted] if known else self.capacities[at.level]
        bound = able + self.reach / 2**at.failures
        within = [level for level in range(levels) if self.capacities[level] <= bound]
        nearest = climb(at.level, 1, levels=levels)
        return max([*within, nearest])
