"""Normalised final answers, and labels of supervisors.

Nobody needs the truth for any of it.
"""

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from superalign_env.types import Episode, Seat, Task

_MARKED = re.compile(r"(?:^|\s)ans\s(.*)$")

_MARKED_LINE = re.compile(
    r"""^[\s*_>#-]*(?:(?:the\s+)?(?:final\s+|correct\s+)?answer[\s*_]*(?:is[\s*_]*)?[:=]|\#{4})[\s*_]*(.+)$""",
    re.IGNORECASE,
)
"""A line that says of itself that it is the answer: ``**Answer:** B``, ``#### 42``."""

_MARKED_LAST = re.compile(r"\b(?:the|my)\s+(?:\w+\s+)?answer\s+is\s+(.+)$", re.IGNORECASE)
"""The same in a sentence; earlier lines also say what the answer is not."""

_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_OPENING = re.compile(r"""^[\[{*_`"'“‘«„(]+(?=\S)""")
_CLOSING = re.compile(r"""(?<=\S)[\]}*_`"'”’»).,;:!]+$""")


class Label(NamedTuple):
    """Label of one supervisor, before and after noise."""

    seat: Seat
    turn: int
    """At which it was said."""
    text: str
    """After noise."""
    as_said: bool = True
    """Whether noise left it alone."""


def answer_line(text: str) -> str:
    r"""Return the line that is the answer of a text, as it was written, without its mark.

    The last one that is marked as the answer (``Answer: B``, ``#### 42``, ``\boxed{42}``,
    ``ans 4``), else the last one, as chat models are told.
    """
    lines = [line for line in text.strip().splitlines() if line.strip()]
    for line in reversed(lines):
        marked = _BOXED.search(line) or _MARKED_LINE.match(line)
        if marked:
            return marked[1].strip()
    last = lines[-1].strip() if lines else ""
    marked = _MARKED.search(last) or _MARKED_LAST.search(last)
    return marked[1] if marked else last


def final_answer(text: str) -> str:
    """Return the final answer of a text, normalised: two texts agree if theirs are equal.

    Worked steps, case, spacing, enclosing punctuation and Unicode forms are left out:
    ``3 + 4 = 7 ; 7 * 2 = 4 ans 4`` and ``ans 4`` agree; so do ``Comply`` and ``comply``,
    ``(B).``, ``**Answer:** B`` and ``B``. See `answer_line`.
    """
    return plain_answer(answer_line(text))


def plain_answer(text: str) -> str:
    """Return a text without case, spacing, Unicode variants and punctuation around it."""
    plain = " ".join(unicodedata.normalize("NFKC", text).split()).casefold().strip("(). ")
    return _CLOSING.sub("", _OPENING.sub("", plain)).strip("(). ")


def equal_answers(first: str, second: str) -> bool:
    """Return whether two final answers are the same text or the same number."""
    one, other = plain_answer(first), plain_answer(second)
    return one == other or (_number(one) is not None and _number(one) == _number(other))


def refuses(source: object, task: Task, text: str) -> bool:
    """Return whether an answer refuses, as the source of its task reads it.

    Of a source that reads no answers (`superalign_env.protocols.ReadsAnswers`), only the word itself is known.
    """
    read = getattr(source, "read_answer", None)
    if read is not None:
        return bool(read(task, text).kind == "refusal")
    return re.match(r"(?:i )?refuse\b", final_answer(text)) is not None


def same_meaning(source: object, task: Task, first: str, second: str) -> bool:
    """Return whether two answers to a task come to the same, as its source reads them."""
    if final_answer(first) == final_answer(second):
        return True
    says = getattr(source, "same_meaning", None)
    return says is not None and bool(says(task, first, second))


def _number(text: str) -> Decimal | None:
    bare = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text).strip("$€£ ")
    try:
        value = Decimal(bare)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


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
