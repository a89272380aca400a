"""Algorithms by id: from plain values to checked objects, and back for the record.

Settings hold algorithms as fields of the types below: ``train.learner={id: ppo, clip: 0.1}``
on the command line becomes a `Ppo`, and is written into the record with all of its settings.
What an algorithm can learn from is what its `improve` says by annotation.
"""

import typing
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import PlainSerializer, PlainValidator

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.algorithms.algorithm import Algorithm
from superalign_training.experience import Example, Experience, Live, Opinion, Preference
from superalign_training.registered import make_registered, plain_registered

AlgorithmReference = str | Mapping[str, Any] | Algorithm[Any]
"""``ppo``, ``{id: ppo, clip: 0.1}``, or an algorithm that is made already."""


class OnPolicy(Algorithm[Live], Protocol):
    """Learns from episodes that the policy plays while it learns."""

    @property
    def steps(self) -> int:
        """Rollouts of the newest policy."""
        ...

    @property
    def cases(self) -> int:
        """Different cases in one rollout."""
        ...

    @property
    def members(self) -> int:
        """Plays of each case."""
        ...

    @property
    def fork(self) -> bool:
        """Whether members share everything up to the learner's first view."""
        ...


class Taught(Algorithm[Any], Protocol):
    """Learns from lessons: examples, preferences or opinions."""

    @property
    def steps(self) -> int:
        """Optimiser steps at most."""
        ...


def make_algorithm(
    reference: AlgorithmReference, *, default: Algorithm[Any] | None = None
) -> Algorithm[Any]:
    """Return a checked algorithm.

    Args:
        reference: an id, a mapping with an id, or an algorithm, which is returned as is.
        default: supplies the id and the settings that a mapping leaves out, unless the
            mapping names another id.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    if not isinstance(reference, (str, Mapping)):
        if callable(getattr(reference, "improve", None)):
            return reference
        raise InvalidOption(f"{reference!r} is no algorithm; give an id or {{id: …}}")
    given = {"id": reference} if isinstance(reference, str) else dict(reference)
    if default is not None and given.get("id", default.id) == default.id:
        given = {**plain_algorithm(default), **given}
    made: Algorithm[Any] = make_registered(
        "algorithm", given, noun="algorithm", example="ppo"
    )
    return made


def plain_algorithm(algorithm: Algorithm[Any]) -> dict[str, Any]:
    """Return the plain values from which `make_algorithm` makes the same algorithm."""
    return plain_registered(algorithm)


def learns_from(kind: type[Any]) -> frozenset[type]:
    """Return the kinds of experience that an algorithm takes, by annotation."""
    hint = typing.get_type_hints(kind.improve).get("experience", Any)
    return frozenset(_named_in(hint))


def _named_in(hint: Any) -> list[type]:
    parts = typing.get_args(hint)  # of a union, or of a sequence of lessons
    if parts:
        return [found for part in parts for found in _named_in(part)]
    return [hint] if isinstance(hint, type) else []


def _takes(kind: type[Any], wanted: tuple[type, ...]) -> bool:
    return not learns_from(kind).isdisjoint(wanted)


def _checked(*wanted: type, what: str = "") -> PlainValidator:
    """Return the check that a field of settings makes."""

    def check(reference: Any) -> Algorithm[Any]:
        try:
            made = make_algorithm(reference)
        except UnknownId as error:
            raise ValueError(str(error)) from error  # pydantic names the key then
        if wanted and not _takes(type(made), wanted):
            able = [
                name
                for name in registry.entries("algorithm")
                if _takes(registry.load("algorithm", name), wanted)
            ]
            raise ValueError(f"{made.id} does not learn from {what}; {', '.join(able)} do")
        return made

    return PlainValidator(check)


_as_plain = PlainSerializer(plain_algorithm, return_type=dict[str, Any])

AnyAlgorithm = Annotated[Algorithm[Any], _checked(), _as_plain]
"""Any algorithm, as a field of settings."""

RlAlgorithm = Annotated[
    OnPolicy, _checked(Live, Experience, what="live episodes"), _as_plain
]
"""One that learns from episodes of the newest policy, as a field of settings."""

LessonAlgorithm = Annotated[
    Taught, _checked(Example, Preference, Opinion, what="lessons"), _as_plain
]
"""One that learns from examples, preferences or opinions, as a field of settings."""

ExampleAlgorithm = Annotated[Taught, _checked(Example, what="examples"), _as_plain]
"""One that learns what to say where, as a field of settings."""
