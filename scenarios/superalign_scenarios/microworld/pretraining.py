"""Unlabelled pre-training text of base models, before any supervision.

Every document is a transcript in the very form of the prompts that agents get (a model
tuned on another form learns the form first; feasibility study, section 2). Only train
compositions occur.
"""

import math
from bisect import bisect
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate

import msgspec
import numpy as np

from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator, label, mix
from superalign_scenarios.microworld import babble
from superalign_scenarios.microworld.babble import Exercise
from superalign_scenarios.microworld.luck import Luck

_END = "<|end|>"
_EXERCISES = ("arithmetic", "strings", "writing")
_JUDGES = ("critic",) * 6 + ("human", "judge")
_SOLVED = 0.67
_REVISED = 0.7
_BLOCK = 4096

_Writer = Callable[[Luck, "DocumentMixture"], str]


class DocumentMixture(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of the kinds of documents; they need not add up to one."""

    stories: float = 0.33
    """A request and what follows when it is done."""
    answers: float = 0.15
    """A request, a random answer (of a learner or a supervisor), and what follows."""
    transcripts: float = 0.10
    """The same with random verdicts and, mostly, a revised answer; also of exercises."""
    attacks: float = 0.08
    """A seed request and a random rewriting of it."""
    facts: float = 0.04
    """A true statement about one word."""
    arithmetic: float = 0.12
    """Solved exercises, and answered ones with the world's judgement."""
    strings: float = 0.12
    writing: float = 0.04
    debates: float = 0.015
    """A request, two claims, a random judgement of it, and what follows."""
    commands: float = 0.005
    """A tool command and its result."""
    request_tiers: tuple[float, float, float] = (0.7, 0.22, 0.08)
    """Shares of requests with one, two and three acts."""
    exercise_tiers: tuple[float, float, float] = (0.45, 0.35, 0.2)


KINDS: tuple[str, ...] = tuple(
    [name for name in DocumentMixture.__struct_fields__ if not name.endswith("_tiers")]
)
"""Every kind of document."""

DEFAULT = DocumentMixture()


def focused(kind: str, share: float = 0.6) -> DocumentMixture:
    """Return the default mixture with one kind raised to a share of all documents.

    Raises:
        InvalidOption: no such kind, or a share outside [0, 1).
    """
    if kind not in KINDS or not 0 <= share < 1:
        raise InvalidOption(
            f"focus on one of {', '.join(KINDS)} with a share in [0, 1), not {kind!r} {share!r}"
        )
    rest = sum([getattr(DEFAULT, name) for name in KINDS if name != kind])
    return msgspec.structs.replace(DEFAULT, **{kind: rest * share / (1 - share)})


def document(rng: np.random.Generator, mixture: DocumentMixture = DEFAULT) -> str:
    """Return one document."""
    return _document(Luck(rng, 64), mixture)


def corpus(seed: int, n: int, mixture: DocumentMixture = DEFAULT) -> list[str]:
    """Return n documents; the same for the same seed, and a prefix of any longer corpus."""
    luck = Luck(generator(mix(seed, label("microworld.pretraining"))), _BLOCK)
    return [_document(luck, mixture) for _ in range(n)]


def _document(luck: Luck, mixture: DocumentMixture) -> str:
    bounds = _bounds(mixture)
    return _WRITERS[bisect(bounds, luck.unit() * bounds[-1])](luck, mixture)


@lru_cache(maxsize=64)
def _bounds(mixture: DocumentMixture) -> tuple[float, ...]:
    weights = [getattr(mixture, kind) for kind in KINDS]
    if min(weights) < 0 or not math.isfinite(sum(weights)) or sum(weights) <= 0:
        raise InvalidOption(f"weights of a mixture are ≥ 0 and not all 0, not {mixture}")
    return tuple(accumulate(weights))


def _story(luck: Luck, mixture: DocumentMixture) -> str:
    request = babble.request(luck, mixture.request_tiers)
    then = babble.outcome(luck, babble.is_harmful(request), "comply")
    return f"<|user|> {request.text}{_END}<|world|> {then}{_END}"


def _answer(luck: Luck, mixture: DocumentMixture) -> str:
    request = babble.request(luck, mixture.request_tiers)
    reply = babble.answer(luck)
    author = "supervisor" if luck.chance(0.15) else "learner"
    then = babble.outcome(luck, babble.is_harmful(request), reply)
    return f"<|user|> {request.text}{_END}<|{author}|> {reply}{_END}<|world|> {then}{_END}"


def _transcript(luck: Luck, mixture: DocumentMixture) -> str:
    if luck.chance(0.2):
        exercise = Exercise(luck, luck.pick(_EXERCISES), mixture.exercise_tiers)
        text, reply = _judged(luck, exercise.prompt, exercise.attempt)
        then = exercise.judgement(reply)
    else:
        request = babble.request(luck, mixture.request_tiers)
        text, reply = _judged(luck, request.text, lambda: babble.answer(luck))
        then = babble.outcome(luck, babble.is_harmful(request), reply)
    return f"{text}<|world|> {then}{_END}"


def _attack(luck: Luck, mixture: DocumentMixture) -> str:
    seed = babble.request(luck, mixture.request_tiers)
    rewrite = babble.rewritten(luck, seed)
    return f"<|seed|> {seed.text}{_END}<|attacker|> {rewrite.text}{_END}"


def _fact(luck: Luck, mixture: DocumentMixture) -> str:
    return f"<|world|> {babble.fact(luck)}{_END}"


def _exercise(family: str) -> _Writer:
    def write(luck: Luck, mixture: DocumentMixture) -> str:
        exercise = Exercise(luck, family, mixture.exercise_tiers)
        if luck.chance(_SOLVED):
            return f"<|user|> {exercise.prompt}{_END}<|world|> {exercise.solved()}{_END}"
        reply = exercise.attempt()
        then = exercise.judgement(reply)
        return f"<|user|> {exercise.prompt}{_END}<|learner|> {reply}{_END}<|world|> {then}{_END}"

    return write


def _debate(luck: Luck, mixture: DocumentMixture) -> str:
    request = babble.request(luck, mixture.request_tiers)
    words = babble.valued_words(request)
    claims = "".join(
        [f"<|debater|> {babble.statement(luck, words)}{_END}" for _ in range(2)]
    )
    reply = babble.answer(luck)
    then = babble.outcome(luck, babble.is_harmful(request), reply)
    return f"<|user|> {request.text}{_END}{claims}<|judge|> {reply}{_END}<|world|> {then}{_END}"


def _command(luck: Luck, mixture: DocumentMixture) -> str:
    reply, result = babble.command(luck)
    return f"<|learner|> {reply}{_END}<|tool|> {result}{_END}"


def _judged(luck: Luck, prompt: str, answer: Callable[[], str]) -> tuple[str, str]:
    """Return prompt, answer, verdicts and mostly a revised answer, and the last answer."""
    reply = answer()
    author = luck.pick(_JUDGES)
    verdicts = "".join(
        [
            f"<|{author}|> {babble.verdict(luck, reply)}{_END}"
            for _ in range(2 if luck.chance(0.25) else 1)
        ]
    )
    text = f"<|user|> {prompt}{_END}<|learner|> {reply}{_END}{verdicts}"
    if not luck.chance(_REVISED):
        return text, reply
    reply = answer()
    return f"{text}<|learner|> {reply}{_END}", reply


_WRITERS: tuple[_Writer, ...] = (
    _story,
    _answer,
    _transcript,
    _attack,
    _fact,
    _exercise("arithmetic"),
    _exercise("strings"),
    _exercise("writing"),
    _debate,
    _command,
)
"""In the order of `KINDS`."""
