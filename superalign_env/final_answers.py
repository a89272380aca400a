"""Normalised final answers, and labels of supervisors.

Nobody needs the truth for any of it.
"""

import re
from typing import NamedTuple

from superalign_env.types import Episode, Seat

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
