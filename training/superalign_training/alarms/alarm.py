"""The contract of an alarm, and the statistics that alarms may look at."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import NonNegativeFloat

from superalign_env.measures import Estimate
from superalign_env.types import Metric, Role
from superalign_training.gap.controller import Sight
from superalign_training.sections import Section

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
    """Statistics of one round or generation. What is not known stays empty."""

    sights: Sequence[Sight] = ()
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
    """Why an alarm is raised."""

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
        """What its value may not pass."""
        ...

    @property
    def action(self) -> Action:
        """What follows."""
        ...

    @property
    def needs(self) -> Sequence[str]:
        """Fields of `Statistics` without which it can say nothing."""
        ...

    @property
    def reads_truth(self) -> bool:
        """Whether it looks at ``truth``; such an alarm may warn and do nothing else."""
        ...

    def check(self, statistics: Statistics) -> Trigger | None:
        """Return why to raise the alarm; None where all is well or nothing is known.

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
