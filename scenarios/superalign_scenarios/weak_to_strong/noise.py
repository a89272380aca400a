"""Label noise: what the student is taught instead of what a supervisor said.

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

_PARAMETERS: dict[str, tuple[str, ...]] = {
    "none": (),
    "iid": ("rate",),
    "class-conditional": ("rates",),
    "systematic": ("words", "share", "instead"),
    "pair": ("rate",),
}


class NoiseDraw(NamedTuple):
    """Uniform numbers drawn at reset for one supervisor's label, both in [0, 1)."""

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
    fields = {"id": spec} if isinstance(spec, str) else dict(spec)
    kind = fields.get("id")
    if kind not in KINDS:
        raise UnknownId("kind of label noise", str(kind), KINDS)
    unknown = set(fields) - {"id", *_PARAMETERS[kind]}
    if unknown:
        raise InvalidOption(
            f"noise {kind} has no {', '.join(sorted(unknown))}; it has "
            f"{', '.join(_PARAMETERS[kind]) or 'no parameters'}"
        )
    try:
        noise = msgspec.convert(fields, Noise)
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


def noise_of_each(
    noise: NoiseSpec | Sequence[NoiseSpec], supervisors: int
) -> tuple[Noise, ...]:
    """Return the noise of every supervisor."""
    if isinstance(noise, (str, Mapping)):
        return (make_noise(noise),) * supervisors
    if len(noise) != supervisors:
        raise InvalidOption(
            f"{len(noise)} kinds of noise for {supervisors} supervisors; give one for all, "
            "or one for each"
        )
    return tuple([make_noise(spec) for spec in noise])


def recorded_noise(noise: NoiseSpec | Sequence[NoiseSpec]) -> Any:
    """Return the specification as plain JSON values, for the record."""
    if isinstance(noise, str):
        return noise
    if isinstance(noise, Mapping):
        return {key: list(v) if isinstance(v, tuple) else v for key, v in noise.items()}
    return [recorded_noise(spec) for spec in noise]


def noisy(
    noise: Noise, task: Task, answer: str, candidates: Sequence[str], draw: NoiseDraw
) -> str:
    """Return the label after noise.

    Args:
        noise: which.
        task: what was answered.
        answer: the supervisor's word.
        candidates: answers to the task, good and bad alike; with no other one among
            them the label stays what it is.
        draw: drawn at reset.

    Raises:
        InvalidOption: pair flips of a task without exactly two answers.
    """
    if noise.id == "systematic":
        return _systematic_answer(noise, task, answer, candidates)
    rate = noise.rate
    if noise.id == "class-conditional":
        by_class = {final_answer(answer): rate for answer, rate in noise.rates.items()}
        rate = by_class.get(final_answer(answer), 0.0)
    if noise.id == "pair" and len(candidates) != 2:
        raise InvalidOption(
            f"pair flips need tasks with two answers; {task.id} has {len(candidates)}: "
            "take a source of preferences, or noise iid"
        )
    return other(answer, candidates, draw.pick) if draw.coin < rate else answer


def other(answer: str, candidates: Sequence[str], pick: float) -> str:
    """Return a candidate that comes to something else; what was said if there is none.

    Args:
        answer: the answer not to return.
        candidates: to choose from.
        pick: in [0, 1), which of the others.
    """
    different = [text for text in candidates if final_answer(text) != final_answer(answer)]
    return different[int(pick * len(different))] if different else answer


def in_region(noise: Noise, task: Task) -> bool:
    """Return whether a task lies where systematic noise strikes."""
    if noise.words:
        return not set(noise.words).isdisjoint(task.prompt.split())
    return _fraction(f"region:{task.prompt}") < noise.share


def _systematic_answer(
    noise: Noise, task: Task, answer: str, candidates: Sequence[str]
) -> str:
    """Return the fixed answer of a task in the region, the same for every supervisor."""
    if not in_region(noise, task):
        return answer
    if noise.instead:
        return noise.instead
    first = int(_fraction(f"answer:{task.prompt}") * len(candidates))
    return other(answer, (*candidates[first:], *candidates[:first]), 0.0)


def _fraction(text: str) -> float:
    """Return a number in [0, 1) that a text alone decides."""
    return int(text_hash(text)[:8], 16) / 2**32
