"""Contract check of alarms."""

import math

from superalign_env.canonical import to_json
from superalign_env.errors import InvalidOption, NotReproducible, ProtocolError
from superalign_env.measures import share
from superalign_env.types import Metric
from superalign_training.gap.controller import GenerationStats
from superalign_training.oversight.alarms import (
    Answers,
    Labelled,
    Statistics,
    Trigger,
    make_alarm,
)
from superalign_training.oversight.alarms.alarm import Alarm, plain_alarm

_TEXTS = tuple(f"{verb} {thing}" for verb in ("open", "close") for thing in "abcdefghij")


def check_alarm(alarm: Alarm, *, raised_by: Statistics | None = None) -> None:
    """Check that an alarm keeps the contract of `Alarm`.

    It names what it needs among the fields of `Statistics`, is silent where nothing is
    known, is a pure function, gives finite numbers and plain JSON, sees no truth unless it
    says so, and is made again by its settings.

    Args:
        alarm: with threshold and action.
        raised_by: statistics on which it must be raised; without them nothing says that it
            ever is.

    Raises:
        ProtocolError: it breaks its contract.
        NotReproducible: the same statistics gave another answer.
    """
    try:
        make_alarm(getattr(alarm, "id", ""), alarm)
    except InvalidOption as error:
        raise ProtocolError(str(error)) from error
    unknown = sorted(set(alarm.needs) - set(Statistics._fields))
    if unknown:
        fields = ", ".join(Statistics._fields)
        raise ProtocolError(
            f"{alarm.id} needs {', '.join(unknown)}; statistics have {fields}"
        )
    if alarm.check(Statistics()) is not None:
        raise ProtocolError(
            f"{alarm.id} is raised where nothing is known: an empty field means unknown; "
            "return None"
        )
    for statistics in (_example(), *([] if raised_by is None else [raised_by])):
        _check_once(alarm, statistics)
    if raised_by is not None and alarm.check(raised_by) is None:
        raise ProtocolError(f"{alarm.id} is not raised by the statistics that should")
    settings = {key: value for key, value in plain_alarm(alarm).items() if key != "id"}
    try:
        again = plain_alarm(type(alarm)(**settings))
    except TypeError as error:
        raise ProtocolError(
            f"{alarm.id} is not made by its settings {settings} ({error})"
        ) from error
    if again != plain_alarm(alarm):
        raise ProtocolError(
            f"{alarm.id} is not made again by its settings: {settings} gave {again}; derive "
            "it from AlarmSettings"
        )


def _check_once(alarm: Alarm, statistics: Statistics) -> None:
    before = repr(statistics)
    first, second = alarm.check(statistics), alarm.check(statistics)
    if first != second:
        raise NotReproducible(
            f"{alarm.id} gave {first}, then {second}, of the same statistics; keep no state "
            "and draw no random numbers"
        )
    if repr(statistics) != before:
        raise ProtocolError(f"{alarm.id} changed the statistics that it was shown")
    if first is not None:
        _check_trigger(alarm, first)
    if not alarm.reads_truth:
        blind = alarm.check(statistics._replace(truth=()))
        if blind != first:
            raise ProtocolError(
                f"{alarm.id} looks at truth; say so with reads_truth = True, or look at "
                "something else"
            )


def _check_trigger(alarm: Alarm, trigger: object) -> None:
    if not isinstance(trigger, Trigger):
        raise ProtocolError(f"{alarm.id} returned {trigger!r}; return a Trigger or None")
    if not math.isfinite(trigger.value):
        raise ProtocolError(f"{alarm.id} is raised with the value {trigger.value}")
    try:
        to_json(dict(trigger.evidence))
    except (TypeError, ValueError) as error:
        raise ProtocolError(
            f"evidence of {alarm.id} is no plain JSON ({error}); give numbers and texts"
        ) from error


def _example() -> Statistics:
    """Return statistics with all fields known and many failures."""
    bad_answers = [Labelled(0.0, 0.9, True)] * 20
    good_answers = [Labelled(1.0, 0.8, False)] * 20
    same = Answers(("no",) * len(_TEXTS), _TEXTS)
    return Statistics(
        generations=[GenerationStats(n, n, misfit=0.7, confidence=0.2) for n in (1, 2)],
        samples={"family": same},
        probe={"role": same},
        labelled=[*bad_answers, *good_answers],
        missed=share(5, 100),
        trained_on=share(2, 60),
        held_out=share(40, 60),
        series={"number": [0.5, 0.5, 0.5, 0.5, 0.99]},
        truth=[Metric("learner.right", 0.1, 0.0, 0.2, 100)],
    )
