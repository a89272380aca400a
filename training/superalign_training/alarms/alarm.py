"""An alarm, and what alarms may look at: signals and behaviour, never the truth."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.measures import Estimate
from superalign_training.gap.sight import Sight


class Alarm(NamedTuple):
    """One warning about training."""

    kind: str
    """``imitation``, ``collapse`` …: the event is called ``alarm.KIND``."""
    value: float
    threshold: float
    """What the value has passed."""
    evidence: Mapping[str, Any] = {}
    """Plain JSON values: the numbers behind it."""


class Speech(NamedTuple):
    """What was said to the same tasks by two policies."""

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


class Seen(NamedTuple):
    """Everything that alarms look at. What is not known stays empty, and is no alarm."""

    sights: Sequence[Sight] = ()
    """Of all generations so far, the one at work last."""
    speech: Mapping[str, Speech] = {}
    """Family of tasks → answers of A_g⁺ and of A_g⁻."""
    labelled: Sequence[Labelled] = ()
    """Answers of this generation, drawn at random: the unbiased ones."""
    missed: Estimate | None = None
    """Share of planted answers that the critic misjudged."""
    trained_on: Estimate | None = None
    """Share of answers to requests of the training split that critics call bad."""
    held_out: Estimate | None = None
    """The same on requests that nobody trained on."""
    series: Mapping[str, Sequence[float]] = {}
    """Name of a number that signals give → its values by generation, oldest first."""
