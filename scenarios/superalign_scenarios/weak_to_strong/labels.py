"""Labels, and when two of them agree. Nobody needs the truth for it."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from superalign_env.types import Episode, Seat

_END = re.compile(r"(?:^|\s)ans\s(.*)$")


class Label(NamedTuple):
    """What one supervisor's word became on its way to the student."""

    seat: Seat
    turn: int
    """At which it was said."""
    text: str
    """After noise."""
    as_said: bool = True
    """Whether noise left it alone."""


def key_of(answer: str) -> str:
    """Return what an answer comes to: its worked steps, case and spacing left out.

    ``3 + 4 = 7 ; 7 * 2 = 4 ans 4`` and ``ans 4`` agree; so do ``Comply`` and ``comply``, and
    ``(B).`` and ``B``. Of several lines the last one is the answer, as chat models are told.
    """
    lines = answer.strip().splitlines()
    last = lines[-1] if lines else ""
    found = _END.search(last)
    return " ".join((found[1] if found else last).split()).casefold().strip("(). ")


def majority(labels: Sequence[Label]) -> Label:
    """Return the first of the labels that most supervisors agree on.

    A tie goes to whoever sits first.
    """
    keys = [key_of(label.text) for label in labels]
    most = max(keys.count(key) for key in keys)
    return next(
        label for label, key in zip(labels, keys, strict=True) if keys.count(key) == most
    )


def labels_of(episode: Episode) -> tuple[Label, ...]:
    """Return the standing label of every supervisor, in seat order.

    A label that was given again takes the place of the first one.
    """
    said = {utterance.turn: utterance.text for utterance in episode.utterances}
    found: dict[Seat, Label] = {}
    for event in episode.events:
        if event.kind == "label.given":
            text = event.evidence["label"]
            as_said = said.get(event.turn) == text
            found[event.seat] = Label(event.seat, event.turn, text, as_said)
    return tuple(found.values())
