"""What is said about an utterance: by critics, by humans, by the truth."""

from typing import Any, Literal

import msgspec

from superalign_env.types.identity import Seat


class Fault(msgspec.Struct, frozen=True, gc=False):
    """One fault that a critic claims to see in an answer."""

    kind: str
    """``harm``, ``over-refusal``, ``wrong``, ``format`` … (open set)."""
    span: str = ""
    """The words of the answer that carry the fault, verbatim."""
    severity: float = 0.5
    """In [0, 1]."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """A critic's statement about one answer."""

    score: float
    """Probability, in the critic's eyes, that the answer is good, in [0, 1]."""
    confidence: float = 1.0
    """How sure the critic is of its score, in [0, 1]."""
    faults: tuple[Fault, ...] = ()
    critique: str = ""
    """The same in words."""


class Judged(msgspec.Struct, frozen=True, gc=False):
    """A fact of a step: one seat judged one turn.

    A scenario declares it as ``facts = {"judged": role}``, the role that judges. Everything
    that is learned from judgements, and measured of them, reads these.
    """

    seat: Seat
    """The judge."""
    about: int
    """The turn that is judged; of a planted answer its `Planted.about`, which is negative."""
    verdict: Verdict | None = None
    """None: the words could not be read as a verdict."""
    turn: int = -1
    """At which it was said. −1 from a scenario means the judge's latest turn."""
    why: str = ""
    """Why it could not be read."""

    @property
    def score(self) -> float | None:
        """Score of the verdict; None where there is none to read."""
        return None if self.verdict is None else self.verdict.score


class Planted(msgspec.Struct, frozen=True, gc=False):
    """A fact of a step: the rules put an answer of known worth in somebody's place.

    A scenario declares it as ``facts = {"planted": role}``, the role in whose place answers
    stand. The truth of this answer is told, of no other: judges are taught and examined by
    it. It holds gold, so no view may show more of it than the answer.
    """

    seat: Seat
    """In whose place it stands."""
    good: bool
    """Whether the answer is without fault."""
    answer: str
    kind: str = ""
    """Kind of the fault; empty where there is none, or kinds do not count."""
    about: int = -1
    """The turn it stands for: negative, as nobody spoke it. `Judged.about` names it so."""


class Query(msgspec.Struct, frozen=True, gc=False):
    """A fact of a step: one seat asked something of another.

    A scenario declares it as ``facts = {"queries": role}``, the role that asks.
    """

    seat: Seat
    text: str
    valid: bool
    """Whether the rules took it as a question that may be asked. An invalid one has failed,
    and says nothing about who was to answer."""
    turn: int = -1
    """−1 from a scenario means the seat's latest turn."""


class Grade(msgspec.Struct, frozen=True, gc=False):
    """What the truth says of one turn, on one axis. Never shown to an agent."""

    seat: Seat
    """Whose turn is graded; of a source it is empty, and the rules name it."""
    axis: str
    """``competence``, ``safety``, ``over-refusal``, ``conformity.privacy``, …"""
    name: str
    """What the truth calls the turn's question, such as ``harmful`` or ``benign``."""
    value: float
    """In [0, 1]; 1 where the axis finds no fault."""
    turn: int = -1
    """Stamped by the Game."""


AnswerKind = Literal["refusal", "compliance", "partial", "incoherent"]


class AnswerReading(msgspec.Struct, frozen=True, gc=False):
    """What a reader makes of a whole answer to a request; docs/answers.md defines the kinds."""

    kind: AnswerKind
    spans: tuple[str, ...] = ()
    """The words of the answer that decided, verbatim."""
    reader: str = ""
    """Who read it, with its version: ``reader-v1``."""


SignalKind = Literal[
    "verdict", "label", "answer", "turn", "vote", "preference", "veto", "skip"
]
"""An ``answer`` says in its payload (``text``) what ought to have been said, a ``turn`` what a
person says in a seat of its own."""


class Signal(msgspec.Struct, frozen=True, gc=False):
    """One statement by one source about one utterance or pair. Append-only."""

    kind: SignalKind
    """What kind of statement it is."""
    episode: str
    """What it is about."""
    turn: int
    """Of that episode."""
    source: str
    """Who says so."""
    value: float
    """In [0, 1]; for a preference, the probability that the first is better."""
    versus: int = -1
    """The other turn of a pair."""
    versus_episode: str | None = None
    """The episode of that turn, another member of the case; None: the same episode."""
    confidence: float = 1.0
    """How sure the source is, in [0, 1]."""
    payload: dict[str, Any] = {}
    """Further plain JSON values of its kind."""
    question: str = ""
    """Id of the question that it answers; empty where nobody asked."""
    previous: str = ""
    """Hash of the signal before it: the chain that makes tampering visible."""
    id: int = 0
    """Its place in the record, from 1."""
    created: float = 0.0
    """When, in seconds since 1970."""


QuestionSlice = Literal["random", "training", "selected"]
"""Labels of the ``random`` slice are the unbiased evaluation and never trained on; those of
``training`` were drawn at random too, but are; ``selected`` is where sources disagreed."""


class Question(msgspec.Struct, frozen=True, gc=False):
    """Something that the budgeted human channel asks."""

    id: str
    """Unique within a run."""
    kind: SignalKind
    """What kind of signal answers it."""
    episode: str
    """What it is about."""
    turn: int
    """Of that episode."""
    versus: int = -1
    """The other turn of a pair; −1 for none."""
    versus_episode: str | None = None
    """The episode of that turn, another member of the case; None: the same episode."""
    slice: QuestionSlice = "random"
    """Why it was chosen among all that could be asked."""
    priority: float = 0.0
    """Those with more are asked first."""
    why: str = ""
    """Why it was selected."""
    round: int = 0
    """In which it was asked."""


class Metric(msgspec.Struct, frozen=True, gc=False):
    """One number with its interval over many episodes."""

    name: str
    """What is measured, without whom: roles and splits are tags."""
    value: float
    """Finite."""
    low: float | None = None
    """Lower bound of the 95 % interval; None where there is none."""
    high: float | None = None
    """Upper bound."""
    n: int = 0
    """Observations behind it."""
    agent: str = ""
    """Content hash of whom it is about; empty for nobody in particular."""
    opponent: str = ""
    """The other side, where there is one."""
    tags: dict[str, str] = {}
    """What tells it from others of its name."""
    step: int = 0
    """Round, generation, or updates of a policy."""


class MetricKind(msgspec.Struct, frozen=True, gc=False):
    """Declaration of a metric: what its numbers mean, and how they are drawn."""

    name: str
    """As metrics bear it."""
    title: str
    """As a report writes it."""
    unit: str = ""
    """``nats``, ``share`` …; empty for none."""
    better: Literal["higher", "lower", ""] = ""
    """Direction of improvement, if there is one."""
    chart: Literal["line", "matrix", "symmetric", ""] = "line"
    """How a report draws it: over steps; as a matrix, agent by opponent; as one of pairs without
    a direction; empty: not at all."""
