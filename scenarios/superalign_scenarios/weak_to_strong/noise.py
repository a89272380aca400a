"""What happens to a label on its way from a supervisor to the student.

Pure functions of the task, the word said, and numbers drawn at reset. None needs the
truth: a flipped label is another candidate answer than the one that was said, so a flip
of a wrong answer may make it right.

==================== ===========================================================
none                 the label is what was said
iid                  at a rate, any other candidate instead
class-conditional    the same, at rates by what was said (Natarajan et al. 2013)
systematic           in one region of tasks always the same other candidate, for every
                     supervisor and every time: it does not average out
pair                 at a rate, the other of exactly two: flipped preferences
==================== ===========================================================
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from superalign_env.canonical import text_hash
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.final_answers import final_answer
from superalign_env.types import Task

NoiseSpec = str | Mapping[str, Any]
"""``"none"``, ``{"id": "iid", "rate": 0.2}``, …"""

KINDS: tuple[str, ...] = ("none", "iid", "class-conditional", "systematic", "pair")

_KNOWN: dict[str, tuple[str, ...]] = {
    "none": (),
    "iid": ("rate",),
    "class-conditional": ("rates",),
    "systematic": ("words", "share", "instead"),
    "pair": ("rate",),
}


class Luck(NamedTuple):
    """What was drawn at reset for one supervisor's label, both in [0, 1)."""

    coin: float
    """Whether the label is flipped."""
    pick: float
    """Which other answer takes its place."""


class Noise(msgspec.Struct, frozen=True):
    """One kind of noise and its strength."""

    id: str = "none"
    rate: float = 0.0
    """Of ``iid`` and ``pair``: how often a label is flipped."""
    rates: dict[str, float] = {}
    """Of ``class-conditional``: how often, by what was said; what is not named is kept."""
    words: tuple[str, ...] = ()
    """Of ``systematic``: the region is every task whose prompt has one of these words."""
    share: float = 0.0
    """Or so large a share of all tasks, by a hash of the prompt."""
    instead: str = ""
    """What is always said there; empty: a candidate that the prompt's hash chooses."""


def make_noise(spec: NoiseSpec) -> Noise:
    """Return checked noise.

    Raises:
        UnknownId: no such kind.
        InvalidOption: a parameter that the kind does not have, or a share that is none.
    """
    given = {"id": spec} if isinstance(spec, str) else dict(spec)
    kind = given.get("id")
    if kind not in KINDS:
        raise UnknownId("kind of label noise", str(kind), KINDS)
    unknown = set(given) - {"id", *_KNOWN[kind]}
    if unknown:
        raise InvalidOption(
            f"noise {kind} has no {', '.join(sorted(unknown))}; it has "
            f"{', '.join(_KNOWN[kind]) or 'no parameters'}"
        )
    try:
        noise = msgspec.convert(given, Noise)
    except msgspec.ValidationError as error:
        raise InvalidOption(f"noise {kind}: {error}") from error
    for rate in (noise.rate, noise.share, *noise.rates.values()):
        if not 0 <= rate <= 1:
            raise InvalidOption(f"noise {kind}: {rate} is no share; give 0 to 1")
    if kind == "systematic" and bool(noise.words) == bool(noise.share):
        raise InvalidOption(
            "systematic noise has one region: give words, or the share of all tasks"
        )
    return noise


def noisy(
    noise: Noise, task: Task, said: str, candidates: Sequence[str], luck: Luck
) -> str:
    """Return the label that becomes of a supervisor's word.

    Args:
        noise: which.
        task: what was answered.
        said: the supervisor's word.
        candidates: answers to the task, good and bad alike; with no other one among
            them the label stays what it is.
        luck: drawn at reset.

    Raises:
        InvalidOption: pair flips of a task without exactly two answers.
    """
    if noise.id == "systematic":
        return _same_again(noise, task, said, candidates)
    rate = noise.rate
    if noise.id == "class-conditional":
        by_class = {final_answer(answer): rate for answer, rate in noise.rates.items()}
        rate = by_class.get(final_answer(said), 0.0)
    if noise.id == "pair" and len(candidates) != 2:
        raise InvalidOption(
            f"pair flips need tasks with two answers; {task.id} has {len(candidates)}: "
            "take a source of preferences, or noise iid"
        )
    return other(said, candidates, luck.pick) if luck.coin < rate else said


def other(said: str, candidates: Sequence[str], pick: float) -> str:
    """Return a candidate that comes to something else; what was said if there is none.

    Args:
        said: the answer not to return.
        candidates: to choose from.
        pick: in [0, 1), which of the others.
    """
    others = [text for text in candidates if final_answer(text) != final_answer(said)]
    return others[int(pick * len(others))] if others else said


def in_region(noise: Noise, task: Task) -> bool:
    """Return whether a task lies where systematic noise strikes."""
    if noise.words:
        return not set(noise.words).isdisjoint(task.prompt.split())
    return _fraction(f"region:{task.prompt}") < noise.share


def _same_again(noise: Noise, task: Task, said: str, candidates: Sequence[str]) -> str:
    """Return the region's own answer, whoever says whatever else there."""
    if not in_region(noise, task):
        return said
    if noise.instead:
        return noise.instead
    first = int(_fraction(f"answer:{task.prompt}") * len(candidates))
    return other(said, (*candidates[first:], *candidates[:first]), 0.0)


def _fraction(text: str) -> float:
    """Return a number in [0, 1) that a text alone decides."""
    return int(text_hash(text)[:8], 16) / 2**32
