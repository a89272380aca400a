"""What only people may decide: corrections, and whether a run that was stopped goes on.

A proposal is a question like any other. Machines may file it and never answer it: neither
an agent's word nor a simulated person's counts. One yes approves it, and a veto (any no)
always wins.
"""

from collections.abc import Collection, Iterable
from typing import Literal

from superalign_env.canonical import content_hash
from superalign_env.store.agents import Annotators
from superalign_env.store.signals import standing
from superalign_env.types import Question, Signal

Ruling = Literal["open", "approved", "vetoed"]

_MARK = "proposal: "
_URGENT = 3.0
"""Above every other question."""
_COIN = 0.5


def proposal(name: str, text: str, *, episode: str, turn: int, round: int = 0) -> Question:
    """Return the question whether something shall be done.

    Args:
        name: of the proposal; the same name is the same question.
        text: would be done, and why, for people to read.
        episode: that shows why.
        turn: of it.
        round: in which it is filed.
    """
    return Question(
        content_hash(["proposal", name]),
        "vote",
        episode,
        turn,
        priority=_URGENT,
        why=f"{_MARK}{text}",
        round=round,
    )


def proposed(question: Question) -> str:
    """Return what a question proposes; empty if it is no proposal."""
    return question.why.removeprefix(_MARK) if question.why.startswith(_MARK) else ""


def ruling(
    question: str, signals: Iterable[Signal], *, machines: Collection[str]
) -> Ruling:
    """Return what people have decided about a proposal so far.

    Args:
        question: id of the proposal.
        signals: any; those about other questions are ignored.
        machines: sources that have no say.
    """
    answers = [
        signal
        for signal in standing(signals)
        if signal.question == question
        and signal.kind in ("vote", "veto")
        and signal.source not in machines
    ]
    if any(signal.kind == "veto" or signal.value < _COIN for signal in answers):
        return "vetoed"
    return "approved" if any(signal.value > _COIN for signal in answers) else "open"


def simulated(annotators: Annotators) -> set[str]:
    """Return who is no person."""
    return {
        annotator.id for annotator in annotators.all() if annotator.profile.get("simulated")
    }
