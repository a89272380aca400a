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


class Grade(msgspec.Struct, frozen=True, gc=False):
    """What the truth says of one turn, on one axis. Never shown to an agent."""

    seat: Seat
    axis: str
    """``competence``, ``safety``, ``over-refusal``, ``conformity.privacy``, …"""
    name: str
    """What the truth calls the turn's question, such as ``harmful`` or ``benign``."""
    value: float
    turn: int = -1
    """Stamped by the Game."""


SignalKind = Literal[
    "verdict", "label", "answer", "turn", "vote", "preference", "veto", "skip"
]
"""An ``answer`` says in its payload (``text``) what ought to have been said, a ``turn`` what a
person says in a seat of its own."""


class Signal(msgspec.Struct, frozen=True, gc=False):
    """One statement by one source about one utterance or pair. Append-only."""

    kind: SignalKind
    episode: str
    turn: int
    source: str
    value: float
    """In [0, 1]; for a preference, the probability that the first is better."""
    versus: int = -1
    """The other turn of a pair."""
    confidence: float = 1.0
    payload: dict[str, Any] = {}
    question: str = ""
    previous: str = ""
    """Hash of the signal before it: the chain that makes tampering visible."""
    id: int = 0
    created: float = 0.0


QuestionSlice = Literal["random", "training", "selected"]
"""Labels of the ``random`` slice are the unbiased evaluation and never trained on; those of
``training`` were drawn at random too, but are; ``selected`` is where sources disagreed."""


class Question(msgspec.Struct, frozen=True, gc=False):
    """Something that the budgeted human channel asks."""

    id: str
    kind: SignalKind
    episode: str
    turn: int
    versus: int = -1
    slice: QuestionSlice = "random"
    priority: float = 0.0
    why: str = ""
    round: int = 0


class Metric(msgspec.Struct, frozen=True, gc=False):
    """One number with its interval over many episodes."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    agent: str = ""
    opponent: str = ""
    tags: dict[str, str] = {}
    step: int = 0


class MetricKind(msgspec.Struct, frozen=True, gc=False):
    """Declaration of a metric: what its numbers mean, and how they are drawn."""

    name: str
    title: str
    unit: str = ""
    """``nats``, ``share`` …; empty for none."""
    better: Literal["higher", "lower", ""] = ""
    """Direction of improvement, if there is one."""
    chart: Literal["line", ""] = "line"
    """How a report draws it over steps; empty: not at all."""
