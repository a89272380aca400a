"""The contract of an alarm, and the statistics that it reads."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol, cast

from pydantic import BaseModel, NonNegativeFloat, PlainSerializer, PlainValidator

from superalign_env import registry
from superalign_env.errors import InvalidOption, SuperalignError
from superalign_env.measures import Estimate
from superalign_env.types import Metric, Role
from superalign_training import PLUGINS
from superalign_training.gap.controller import GenerationStats
from superalign_training.registered import make_registered, plain_registered
from superalign_training.sections import Section

PROBES = 64
"""Tasks of the training split on which answers of two rounds are compared."""

Action = Literal["off", "warn", "stop", "roll-back", "propose"]
"""What follows an alarm: nothing is checked (`off`), an event (`warn`), the run halts until a
person says to go on (`stop`), the policies of the round or generation before are restored
(`roll-back`), or a person is asked to take the generation back (`propose`)."""


class Answers(NamedTuple):
    """Answers of two policies to the same views, in the same order."""

    now: Sequence[str]
    before: Sequence[str]


class Labelled(NamedTuple):
    """An answer that people labelled."""

    label: float
    """By people, in [0, 1]."""
    score: float | None = None
    """Mean of the critics' scores of it."""
    refused: bool | None = None
    """Whether it was a refusal; None where that makes no sense."""


class Statistics(NamedTuple):
    """Statistics of one round or generation. Unknown ones stay empty."""

    generations: Sequence[GenerationStats] = ()
    """Of all generations so far, the one at work last."""
    samples: Mapping[str, Answers] = {}
    """Family of tasks → sampled answers, after and before what was learned last."""
    probe: Mapping[Role, Answers] = {}
    """Role → likeliest answers to a fixed set of training tasks, now and a round before."""
    labelled: Sequence[Labelled] = ()
    """Answers of this round or generation, drawn at random: the unbiased ones."""
    missed: Estimate | None = None
    """Share of planted answers that the critic misjudged."""
    trained_on: Estimate | None = None
    """Share of answers to requests of the training split that critics call bad."""
    held_out: Estimate | None = None
    """The same on requests that nobody trained on."""
    series: Mapping[str, Sequence[float]] = {}
    """Name of a number that signals give → its values, oldest first."""
    truth: Sequence[Metric] = ()
    """What this round's evaluation by the truth measured. Empty for every alarm but those
    with ``reads_truth``."""


class Trigger(NamedTuple):
    """Value and evidence of a raised alarm."""

    value: float
    """What has passed the threshold."""
    evidence: Mapping[str, Any] = {}
    """Plain JSON values: the numbers behind it."""


class Alarm(Protocol):
    """One check of training, read after every round and every generation.

    Its constructor takes its settings, threshold and action among them.
    """

    @property
    def id(self) -> str:
        """As the registry knows it; the event is called ``alarm.ID``."""
        ...

    @property
    def threshold(self) -> float:
        """Bound on its value."""
        ...

    @property
    def action(self) -> Action:
        """Action of a run when it is raised."""
        ...

    @property
    def needs(self) -> Sequence[str]:
        """Fields of `Statistics` that it needs."""
        ...

    @property
    def reads_truth(self) -> bool:
        """Whether it reads ``truth``; then its only action is a warning."""
        ...

    def check(self, statistics: Statistics) -> Trigger | None:
        """Return a trigger; None where all is well or the statistics are unknown.

        A pure function: no state, no clock, no randomness.
        """
        ...


class AlarmSettings(Section):
    """Settings of an alarm; inherit from it, or write a class with the same attributes."""

    needs: ClassVar[Sequence[str]] = ()
    reads_truth: ClassVar[bool] = False

    threshold: NonNegativeFloat
    """What its value may not pass."""
    action: Action = "warn"
    """`off`, `warn` (an event), `stop` (the run halts until a person says to go on),
    `roll-back` (the policies of the round or generation before are restored) or, of a
    generation, `propose` (a person is asked to have it taken back; nothing happens before
    the yes, and a veto ends it)."""


KIND = "alarm"

AlarmReference = Mapping[str, Any] | Alarm
"""``{threshold: 0.3, action: stop}``, or an alarm that is made already."""

_GENTLE = ("off", "warn")
"""What an alarm may do that reads the truth."""


class Raised(NamedTuple):
    """An alarm that was raised."""

    id: str
    value: float
    threshold: float
    action: Action
    line: str
    """What it means, as the registry says."""
    evidence: Mapping[str, Any]


def raised(
    alarms: Mapping[str, Alarm], statistics: Statistics, truth: Sequence[Metric] = ()
) -> list[Raised]:
    """Return the alarms that statistics raise, in a fixed order.

    Args:
        alarms: id → alarm.
        statistics: of a round or generation, without the truth.
        truth: what evaluation by the truth measured; for those with ``reads_truth`` only.

    Raises:
        InvalidOption: an alarm failed.
    """
    events = []
    for name, alarm in sorted(alarms.items()):
        if alarm.action == "off":
            continue
        visible = statistics._replace(truth=truth if alarm.reads_truth else ())
        try:
            trigger = alarm.check(visible)
        except Exception as error:  # whatever a plug-in raises
            raise InvalidOption(
                f"the alarm {name} failed ({type(error).__name__}: {error}); mend it, or leave "
                f"it out with alarms.{name}.action=off"
            ) from error
        if trigger is not None:
            row = (name, trigger.value, alarm.threshold, alarm.action, _line(alarm))
            events.append(Raised(*row, trigger.evidence))
    return events


def missing_statistics(
    alarms: Mapping[str, Alarm], available: Iterable[str]
) -> dict[str, list[str]]:
    """Return alarm → the statistics that it needs and a run does not have.

    Args:
        alarms: id → alarm; those that are off are left out.
        available: fields of `Statistics`.
    """
    fields = set(available)
    lacking = {
        name: [field for field in alarm.needs if field not in fields]
        for name, alarm in sorted(alarms.items())
        if alarm.action != "off"
    }
    return {name: fields for name, fields in lacking.items() if fields}


def make_alarm(name: str, reference: AlarmReference | None = None) -> Alarm:
    """Return a checked alarm.

    Args:
        name: id of the registry, with ``_`` or ``-``; or anything where the settings name an
            id, which may be ``module:Class``.
        reference: its settings, or an alarm, which is returned as is.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    alarm: Any = reference
    if reference is None or isinstance(reference, Mapping):
        settings = {"id": name.replace("_", "-"), **(reference or {})}
        alarm = make_registered(KIND, settings, noun="alarm", example="collapse")
    missing = [
        key for key in ("id", "threshold", "action", "check") if not hasattr(alarm, key)
    ]
    if missing:
        raise InvalidOption(
            f"{alarm!r} is no alarm: it has no {' and no '.join(missing)}; see "
            "superalign_training.oversight.alarms.Alarm"
        )
    for attribute, default in (("needs", ()), ("reads_truth", False)):
        if not hasattr(alarm, attribute):
            setattr(alarm, attribute, default)
    if alarm.reads_truth and alarm.action not in _GENTLE:
        raise InvalidOption(
            f"alarms.{alarm.id}.action={alarm.action}: it reads the truth, which steers no run; "
            f"allowed are {' and '.join(_GENTLE)}"
        )
    return cast(Alarm, alarm)


def check_alarms(alarms: Mapping[str, Alarm], *, generations: int) -> None:
    """Raise for actions that a run cannot take.

    Raises:
        ValueError: says which, and what to take instead.
    """
    for name, alarm in alarms.items():
        if alarm.action == "propose" and not generations:
            raise ValueError(
                f"alarms.{name}.action=propose asks people to take a generation back, and "
                "this run has none; a round is taken back by roll-back, without asking"
            )


def default_alarms() -> dict[str, Alarm]:
    """Return the shipped alarms with default settings. Plug-in alarms are named to be used."""
    return {name: make_alarm(name) for name in sorted(PLUGINS[KIND])}


def _read(given: Any) -> dict[str, Alarm]:
    """Return alarms by id: the shipped ones with changed settings, and others."""
    if not isinstance(given, Mapping):
        raise ValueError("alarms is a mapping: {collapse: {threshold: 0.3, action: stop}}")
    shipped = default_alarms()
    settings: dict[str, Any] = {name: plain_alarm(alarm) for name, alarm in shipped.items()}
    for key, changes in given.items():
        name = str(key).replace("_", "-")
        changed = isinstance(changes, Mapping)
        settings[name] = {**settings.get(name, {}), **changes} if changed else changes
    try:
        result = {name: make_alarm(name, alarm) for name, alarm in settings.items()}
    except SuperalignError as error:
        raise ValueError(str(error)) from error  # pydantic names the key then
    return dict(sorted(result.items()))


def plain_alarm(alarm: Alarm) -> dict[str, Any]:
    """Return the plain values from which `make_alarm` makes the same alarm."""
    plain = plain_registered(alarm, KIND)
    if not isinstance(alarm, BaseModel):
        plain |= {"threshold": alarm.threshold, "action": alarm.action}
    return plain


def _plain(alarms: Mapping[str, Alarm]) -> dict[str, Any]:
    """Return the plain values of alarms; an id is left out where it is the key."""
    rows = {name: plain_alarm(alarm) for name, alarm in alarms.items()}
    return {
        name: {k: v for k, v in plain.items() if (k, v) != ("id", name)}
        for name, plain in rows.items()
    }


def _line(alarm: Alarm) -> str:
    entry = registry.entries(KIND).get(alarm.id)
    return entry.line if entry is not None else ""


AlarmRules = Annotated[
    dict[str, Alarm],
    PlainValidator(_read),
    PlainSerializer(_plain, return_type=dict[str, Any]),
]
"""Alarms by id, as a field of settings."""
