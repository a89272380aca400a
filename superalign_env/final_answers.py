"""Normalised final answers, and labels of supervisors.

Nobody needs the truth for any of it.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from superalign_env.types import Episode, Seat, Task

_MARKED = re.compile(r"(?:^|\s)ans\s(.*)$")


class Label(NamedTuple):
    """Label of one supervisor, before and after noise."""

    seat: Seat
    turn: int
    """At which it was said."""
    text: str
    """After noise."""
    as_said: bool = True
    """Whether noise left it alone."""


def final_answer(text: str) -> str:
    """Return the final answer of a text, normalised: two texts agree if theirs are equal.

    Worked steps, case and spacing are left out: ``3 + 4 = 7 ; 7 * 2 = 4 ans 4`` and
    ``ans 4`` agree; so do ``Comply`` and ``comply``, and ``(B).`` and ``B``. Of several
    lines the last one is the answer, as chat models are told.
    """
    lines = text.strip().splitlines()
    last_line = lines[-1] if lines else ""
    marked = _MARKED.search(last_line)
    return " ".join((marked[1] if marked else last_line).split()).casefold().strip("(). ")


def same_meaning(source: object, task: Task, first: str, second: str) -> bool:
    """Return whether two answers to a task come to the same, as its source reads them."""
    if final_answer(first) == final_answer(second):
        return True
    says = getattr(source, "same_meaning", None)
    return says is not None and bool(says(task, first, second))


def in_one_wording(source: object, task: Task, texts: Sequence[str]) -> list[str]:
    """Return answers to a task, of which those that come to the same end in one wording.

    An answer whose final answer stood before keeps its own words; another one that means
    what an earlier one means takes the words of that one. So two refusals are equal for all
    who compare final answers.
    """
    worded: list[str] = []
    for text in texts:
        keys = [final_answer(earlier) for earlier in worded]
        alike = (t for t in worded if same_meaning(source, task, t, text))
        worded.append(text if final_answer(text) in keys else next(alike, text))
    return worded


def labels_of(episode: Episode) -> tuple[Label, ...]:
    """Return the standing label of every supervisor, in seat order.

    A scenario says it with events ``label.given``, whose evidence has the ``label``. One
    that was given again takes the place of the first.
    """
    texts = {utterance.turn: utterance.text for utterance in episode.utterances}
    labels: dict[Seat, Label] = {}
    for event in episode.events:
        if event.kind == "label.given":
            text = event.evidence["label"]
            as_said = texts.get(event.turn) == text
            labels[event.seat] = Label(event.seat, event.turn, text, as_said)
    return tuple(labels.values())
