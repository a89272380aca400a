"""Algorithms by id: from plain values to checked objects, and back for the record.

Settings hold algorithms as fields of the types below: ``train.learner={id: ppo, clip_range: 0.1}``
on the command line becomes a `Ppo`, and is written into the record with all of its settings.
"""

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from pydantic import PlainSerializer, PlainValidator

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.algorithms.algorithm import Algorithm, Kind, experience_kinds
from superalign_training.data import Live
from superalign_training.registered import make_registered, plain_registered

AlgorithmReference = str | Mapping[str, Any] | Algorithm[Any]
"""``ppo``, ``{id: ppo, clip_range: 0.1}``, or an algorithm that is made already."""


class OnPolicy(Algorithm[Live], Protocol):
    """Learns from episodes that the policy plays while it learns."""

    @property
    def steps(self) -> int:
        """Rollouts of the newest policy."""
        ...

    @property
    def batch_size(self) -> int:
        """Different cases in one rollout."""
        ...

    @property
    def num_generations(self) -> int:
        """Plays of each case."""
        ...

    @property
    def fork(self) -> bool:
        """Whether plays share everything up to the learner's first view."""
        ...


class Supervised(Algorithm[Any], Protocol):
    """Learns from examples, preferences or opinions."""

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
            An id may be ``module:Class`` of one that is not registered.
        default: supplies the id and the settings that a mapping leaves out, unless the
            mapping names another id.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    if not isinstance(reference, (str, Mapping)):
        if callable(getattr(reference, "improve", None)):
            return _complete(reference)
        raise InvalidOption(f"{reference!r} is no algorithm; give an id or {{id: …}}")
    given = {"id": reference} if isinstance(reference, str) else dict(reference)
    if default is not None:
        plain = plain_algorithm(default)
        if given.get("id", plain["id"]) == plain["id"]:
            given = {**plain, **given}
    made: Algorithm[Any] = make_registered(
        "algorithm", given, noun="algorithm", example="ppo"
    )
    return _complete(made)


def _complete(made: Algorithm[Any]) -> Algorithm[Any]:
    """Return an algorithm that says what it learns from and has the settings for it.

    Raises:
        InvalidOption: it does not, or has not.
    """
    episodes = "episodes" in experience_kinds(made)
    needed = ("steps", "batch_size", "num_generations", "fork") if episodes else ("steps",)
    missing = [name for name in needed if not hasattr(made, name)]
    if missing:
        raise InvalidOption(
            f"the algorithm {made.id} has no setting {' and no '.join(missing)}, which "
            "whoever calls it reads; see superalign_training.algorithms.Algorithm"
        )
    return made


def plain_algorithm(algorithm: Algorithm[Any]) -> dict[str, Any]:
    """Return the plain values from which `make_algorithm` makes the same algorithm."""
    return plain_registered(algorithm, "algorithm")


def algorithms_for(*kinds: Kind) -> list[str]:
    """Return the ids of all algorithms that learn from one of some kinds of experience.

    One that cannot be loaded, or does not say what it learns from, is left out, with a
    warning: a broken plug-in must not take the others along.
    """
    able = []
    for name in registry.entries("algorithm"):
        try:
            found = experience_kinds(registry.load("algorithm", name))
        except Exception as error:  # whatever a plug-in raises at its import
            warnings.warn(f"{name} is left out: {error}", RuntimeWarning, stacklevel=2)
            continue
        if not found.isdisjoint(kinds):
            able.append(name)
    return able


def _checked(*wanted: Kind) -> PlainValidator:
    """Return the check that a field of settings makes.

    Args:
        wanted: kinds of experience of which the algorithm has to take one; none: any will
            do.
    """

    def check(reference: Any) -> Algorithm[Any]:
        try:
            made = make_algorithm(reference)
        except UnknownId as error:
            raise ValueError(str(error)) from error  # pydantic names the key then
        if wanted and experience_kinds(made).isdisjoint(wanted):
            raise ValueError(
                f"{made.id} does not learn from {' or '.join(wanted)}; "
                f"{', '.join(algorithms_for(*wanted))} do"
            )
        return made

    return PlainValidator(check)


_as_plain = PlainSerializer(plain_algorithm, return_type=dict[str, Any])

AnyAlgorithm = Annotated[Algorithm[Any], _checked(), _as_plain]
"""Any algorithm, as a field of settings."""

LessonAlgorithm = Annotated[
    Supervised, _checked("examples", "preferences", "opinions"), _as_plain
]
"""One that learns from examples, preferences or opinions, as a field of settings."""

ExampleAlgorithm = Annotated[Supervised, _checked("examples"), _as_plain]
"""One that learns what to say where, as a field of settings."""
