"""Is anything learned but the labels? Alarms on what is known of whole generations."""

from collections.abc import Sequence

from superalign_env.measures import share
from superalign_training.alarms.alarm import Alarm
from superalign_training.gap.sight import Sight

_RUNNING = 2
"""So many generations make a cascade."""
_LEAST_ERROR = 0.02
"""People must surely call more than this share wrong before copying it is an error."""
_COIN = 0.5


def imitation(sights: Sequence[Sight], *, threshold: float, least: int = 1) -> Alarm | None:
    """Return an alarm when generation after generation copies the mistakes of its labels.

    People call a share e of the answers wrong, and the generation differs from its labels on
    a share m of all tasks: then at least 1 − m/e of its mistakes are those of the labels.
    For e its lower bound is taken. Where nobody was asked there is no alarm.

    Args:
        sights: oldest first.
        threshold: share of copied mistakes.
        least: labels by people below which nothing is said.
    """
    copied = [_copied(sight, least) for sight in sights[-_RUNNING:]]
    known = [value for value in copied if value is not None]
    if len(known) < _RUNNING or min(known) < threshold:
        return None
    return Alarm(
        "imitation",
        min(known),
        threshold,
        {
            "copied": known,
            "misfit": [sight.misfit for sight in sights[-_RUNNING:]],
            "human_agreement": [sight.human_agreement for sight in sights[-_RUNNING:]],
        },
    )


def non_salient(sights: Sequence[Sight], *, threshold: float) -> Alarm | None:
    """Return an alarm when a generation neither took on its labels nor is sure of anything.

    What it can do was not elicited (Burns et al. 2023 call it salient when it is).

    Args:
        sights: oldest first; the last one counts.
        threshold: highest misfit.
    """
    if not sights or sights[-1].misfit <= threshold or sights[-1].confidence >= _COIN:
        return None
    last = sights[-1]
    return Alarm("non-salient", last.misfit, threshold, {"confidence": last.confidence})


def _copied(sight: Sight, least: int) -> float | None:
    """Return the least share of a generation's mistakes that are those of its labels."""
    if sight.human_agreement is None or sight.human_labels < max(1, least):
        return None
    agreed = round(sight.human_agreement * sight.human_labels)
    wrong = share(sight.human_labels - agreed, sight.human_labels).least
    return None if wrong <= _LEAST_ERROR else max(0.0, 1.0 - sight.misfit / wrong)
