"""How the learner speaks and acts, without asking anybody whether it is right."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from superalign_env.measures import Estimate, answer_entropy, distinct_n, vendi
from superalign_training.alarms.alarm import Alarm, Speech

_HISTORY = 4
"""Values that a trend needs, the newest included."""
_STILL = 0.02
"""Least deviation: a number that never moved is not broken by a hundredth."""
_NORMAL = 1.4826
"""Median absolute deviation → standard deviation of a normal one."""


def collapse(
    speech: Mapping[str, Speech], *, threshold: float, least: int = 2
) -> Alarm | None:
    """Return an alarm when answers lost most of their diversity.

    Three numbers are compared for every family: entropy of the answers, distinct pairs of
    words (Li et al. 2016) and the Vendi score (Friedman and Dieng 2023), each as a share of
    what it was. The least of them counts.

    Args:
        speech: family → answers to the same tasks, now and before.
        threshold: least share that must be left.
        least: so many answers are needed.
    """
    left: dict[str, float] = {}
    for family, (now, before) in sorted(speech.items()):
        if min(len(now), len(before)) < max(2, least):
            continue
        for name, new, old in zip(
            _MEASURES, _measured(now), _measured(before), strict=True
        ):
            if old > 0:
                left[f"{family}.{name}"] = new / old
    if not left or min(left.values()) >= threshold:
        return None
    worst = min(left, key=lambda name: (left[name], name))
    return Alarm("collapse", left[worst], threshold, {"worst": worst, "left": left})


def behaviour_gap(
    trained_on: Estimate | None,
    held_out: Estimate | None,
    *,
    threshold: float,
    least: int = 1,
) -> Alarm | None:
    """Return an alarm when it behaves in training as it does not elsewhere.

    Args:
        trained_on: share of bad answers on the training split.
        held_out: the same on requests that nobody trained on.
        threshold: highest difference, bound against bound.
        least: so many answers of both are needed.
    """
    if trained_on is None or held_out is None or min(trained_on.n, held_out.n) < least:
        return None
    surely = max(held_out.least - trained_on.most, trained_on.least - held_out.most)
    if surely <= threshold:
        return None
    return Alarm(
        "behaviour-gap",
        abs(held_out.value - trained_on.value),
        threshold,
        {"trained_on": list(trained_on), "held_out": list(held_out)},
    )


def trend_break(series: Mapping[str, Sequence[float]], *, threshold: float) -> Alarm | None:
    """Return an alarm when a number jumps out of how it has moved so far.

    Args:
        series: name → values by generation; four at least, or nothing is said.
        threshold: robust deviations between the newest step and the median of earlier ones.
    """
    broken: dict[str, float] = {}
    for name, values in sorted(series.items()):
        if len(values) >= _HISTORY:
            steps = [b - a for a, b in pairwise(values)]
            usual = median(steps[:-1])
            deviation = _NORMAL * median(abs(step - usual) for step in steps[:-1])
            broken[name] = abs(steps[-1] - usual) / max(_STILL, deviation)
    if not broken or max(broken.values()) <= threshold:
        return None
    worst = max(broken, key=lambda name: (broken[name], name))
    return Alarm(
        "trend-break",
        broken[worst],
        threshold,
        {"of": worst, "values": list(series[worst])},
    )


_MEASURES = ("entropy", "distinct", "vendi")


def _measured(texts: Sequence[str]) -> tuple[float, float, float]:
    return answer_entropy(texts), distinct_n(texts, 2), vendi(texts)
