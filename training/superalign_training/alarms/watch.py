"""Every alarm by name, and which of them are raised."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from superalign_training.alarms.alarm import Alarm, Seen
from superalign_training.alarms.behaviour import behaviour_gap, collapse, trend_break
from superalign_training.alarms.labels import collusion, divergence, over_refusal
from superalign_training.alarms.learning import imitation, non_salient
from superalign_training.alarms.settings import Action, Alarms, Watch

Check = Callable[[Seen, float, int], Alarm | None]
"""(what is seen, threshold, least number of observations) → an alarm, or none."""

CHECKS: Mapping[str, Check] = {
    "imitation": lambda seen, at, n: imitation(seen.sights, threshold=at, least=n),
    "collapse": lambda seen, at, n: collapse(seen.speech, threshold=at, least=n),
    "non-salient": lambda seen, at, n: non_salient(seen.sights, threshold=at),
    "over-refusal": lambda seen, at, n: over_refusal(seen.labelled, threshold=at, least=n),
    "divergence": lambda seen, at, n: divergence(seen.labelled, threshold=at, least=n),
    "collusion": lambda seen, at, n: collusion(
        seen.labelled, seen.missed, threshold=at, least=n
    ),
    "behaviour-gap": lambda seen, at, n: behaviour_gap(
        seen.trained_on, seen.held_out, threshold=at, least=n
    ),
    "trend-break": lambda seen, at, n: trend_break(seen.series, threshold=at),
}
"""Kind → how it is checked; its settings bear the same name."""


class Raised(NamedTuple):
    """An alarm, and what shall happen."""

    alarm: Alarm
    action: Action


def raised(seen: Seen, rules: Alarms) -> list[Raised]:
    """Return the alarms that what is seen raises, in a fixed order."""
    found = []
    for kind, check in CHECKS.items():
        watch: Watch = getattr(rules, kind.replace("-", "_"))
        if watch.action == "off":
            continue
        alarm = check(seen, watch.threshold, rules.least)
        if alarm is not None:
            found.append(Raised(alarm, watch.action))
    return found
