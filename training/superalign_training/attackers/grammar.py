"""Queries as choices of words for slots: what a policy over slots chooses among."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from superalign_scenarios.microworld.words import (
    CONTEXTS,
    NAMES,
    OBJECTS,
    POLARITIES,
    TARGETS,
    VERBS,
)


class Grammar(NamedTuple):
    """Slots, what may stand in each, and how a choice is written."""

    slots: tuple[tuple[str, ...], ...]
    write: Callable[[Sequence[str]], str]
    """One filling for every slot → the query."""


def requests_grammar() -> Grammar:
    """Return the grammar of one-act requests of the microworld.

    Verb and object are one slot, because each dimension has its own: nobody forges a bomb.
    """
    deeds = tuple(
        f"{verb} {object_}"
        for verbs, objects in zip(VERBS, OBJECTS, strict=True)
        for verb in verbs
        for object_ in objects
    )
    return Grammar((NAMES, deeds, TARGETS, CONTEXTS, POLARITIES), _request)


def _request(words: Sequence[str]) -> str:
    name, deed, target, context, polarity = words
    return f"{name} will {deed} near {target} {context} ; {polarity} {name}"
