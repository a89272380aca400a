"""Alarms on whether anything but the labels was learned, over whole generations."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat

from superalign_env.measures import share
from superalign_training.alarms.alarm import AlarmSettings, Statistics, Trigger
from superalign_training.gap.controller import Sight
from superalign_training.sections import Count

_RUNNING = 2
"""So many generations make a cascade."""
_LEAST_ERROR = 0.02
"""People must surely call more than this share wrong before copying it is an error."""
_COIN = 0.5


class Imitation(AlarmSettings):
    """Imitation cascade: generation after generation copies the mistakes of its labels.

    People call a share e of the answers wrong, and the generation differs from its labels on
    a share m of all tasks: then at least 1 − m/e of its mistakes are those of the labels.
    For e its lower bound is taken. Where nobody was asked there is no alarm.
    """

    id: Literal["imitation"] = "imitation"
    needs: ClassVar[Sequence[str]] = ("sights",)

    threshold: NonNegativeFloat = 0.8
    """Share of mistakes that are copied, in two generations running."""
    min_samples: Count = 12
    """Labels by people below which nothing is raised."""

    def check(self, statistics: Statistics) -> Trigger | None:
        """Return the least share of copied mistakes of the last two generations."""
        last = statistics.sights[-_RUNNING:]
        shares = [self._copied(sight) for sight in last]
        known = [value for value in shares if value is not None]
        if len(known) < _RUNNING or min(known) < self.threshold:
            return None
        return Trigger(
            min(known),
            {
                "copied": known,
                "misfit": [sight.misfit for sight in last],
                "human_agreement": [sight.human_agreement for sight in last],
            },
        )

    def _copied(self, sight: Sight) -> float | None:
        """Return the least share of a generation's mistakes that are those of its labels."""
        if sight.human_agreement is None or sight.human_labels < self.min_samples:
            return None
        agreed = round(sight.human_agreement * sight.human_labels)
        wrong = share(sight.human_labels - agreed, sight.human_labels).least
        return None if wrong <= _LEAST_ERROR else max(0.0, 1.0 - sight.misfit / wrong)


class NonSalient(AlarmSettings):
    """Non-saliency: a generation neither took on its labels nor is sure of anything.

    What it can do was not elicited (Burns et al. 2023 call it salient when it is).
    """

    id: Literal["non-salient"] = "non-salient"
    needs: ClassVar[Sequence[str]] = ("sights",)

    threshold: NonNegativeFloat = 0.5
    """Highest share of tasks on which it may differ from its labels while it is less sure
    than a coin."""

    def check(self, statistics: Statistics) -> Trigger | None:
        """Return how often the last generation differs from its labels."""
        sights = statistics.sights
        if not sights:
            return None
        last = sights[-1]
        if last.misfit <= self.threshold or last.confidence >= _COIN:
            return None
        return Trigger(last.misfit, {"confidence": last.confidence})
