"""The contract of every algorithm, and algorithms by id.

Settings hold algorithms as fields of the types below: ``train.learner={id: ppo, clip_range: 0.1}``
on the command line becomes a `Ppo`, and is written into the record with all of its settings.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    get_args,
)

from pydantic import PlainSerializer, PlainValidator

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.plain_text import inline
from superalign_env.store import declare
from superalign_training.data import Live
from superalign_training.registered import make_registered, plain_registered

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy

Kind = Literal["examples", "preferences", "unpaired_preferences", "episodes", "paid"]
"""A kind of experience."""

KINDS: tuple[Kind, ...] = get_args(Kind)

LearnsFrom = Kind | tuple[Kind, ...]
"""One kind of experience, or several, any of which `improve` may be given."""

OnStep = Callable[[int, Mapping[str, float]], object]
"""(steps done, numbers of this step); ``loss`` is recorded as ``train/loss``."""

# Every update reports these, whoever computes it.
declare("train/loss", "Loss")
declare("train/grad_norm", "Gradient norm before clipping")
declare("train/learning_rate", "Learning rate")

RefPolicy = Literal["round", "original"]
"""The policy as it is when `improve` is called, or as it was before any training (with LoRA:
the base without its adapter)."""

ExperienceT_contra = TypeVar("ExperienceT_contra", contravariant=True)


class Algorithm(Protocol[ExperienceT_contra]):
    """A training algorithm; its settings are the fields of the object.

    Derive from `Section` (a frozen pydantic model): then settings are checked, written into
    the record, and set from the command line. Every algorithm has a setting ``steps``; one
    that learns from episodes also has ``batch_size`` (different cases of a rollout),
    ``num_generations`` (plays of each) and ``fork`` (whether these share everything up to the policy's first
    view), because whoever plays the episodes reads them.

    One that weighs rows which are not live (`Row.origin`) says so in a class attribute
    ``weighs_stored = True``: late answers of people bring such rows into its batches.

    An algorithm that trains something else with the help of a policy (a reward model) says
    so in a class attribute ``keeps_policy``, a sentence.
    """

    learns_from: ClassVar[LearnsFrom]
    """What `improve` gets as its experience.

    * ``examples``: a sequence of `Example`, a prompt and what to say to it (SFT);
    * ``preferences``: a sequence of `Preference`, two completions of one prompt, of which
      the first is better (DPO, a reward model);
    * ``unpaired_preferences``: a sequence of `UnpairedPreference`, a completion and whether it is good (KTO);
    * ``episodes``: an `Experience`, whose ``play(first, count)`` returns the `Row`s of so
      many cases (PPO, GRPO). Live ones (``cap`` is None) are played at that moment by the
      policy's agent, so that weights may move between two calls. Of stored ones ``cap``
      is the limit of importance weights; who cannot weigh them raises `InvalidOption`;
    * ``paid``: `PaidExperience` episodes of a `Learner`, which improves itself (own, sb3-ppo). The
      policy is then an `LearnerPolicy`.
    """

    @property
    def id(self) -> str:
        """As the registry knows it."""
        ...

    def improve(
        self,
        policy: "Policy",
        experience: ExperienceT_contra,
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Improve a policy in place.

        The same policy, experience and seed give the same weights to the byte, whatever the
        state of global random generators. A policy that is saved after a call and loaded
        goes on as if it had not been: what an algorithm remembers from one call to the next
        is kept by the policy (optimiser, value head, baselines), never by the algorithm.
        `superalign_training.testing.check_algorithm` checks all that is said here.

        Args:
            policy: trained within ``with policy.training() as model``, by the optimiser of
                ``policy.optimizer(learning_rate)``, which goes on where it stopped.
            experience: of a kind that is named in `learns_from`.
            seed: of everything random in training; another one for every call.
                ``policy.seed(seed)`` mixes it with the number of updates.
            on_step: called with 1, 2, 3, … and the numbers (floats, finite) of each update:
                of one optimiser step, or of all that are taken on one rollout of episodes.

        Returns:
            Finite numbers that sum up the whole call, by name; ``reward_first`` and
            ``reward`` (of an episode, in the first and the last updates) among them if it
            learns from episodes.

        Raises:
            InvalidOption: nothing to learn from, or pay that is no finite number; the
                policy is then as it was.
        """
        ...


def experience_kinds(algorithm: object) -> frozenset[Kind]:
    """Return the kinds of experience that an algorithm, or its class, learns from.

    Raises:
        InvalidOption: it does not say so, or names a kind that does not exist.
    """
    declared = getattr(algorithm, "learns_from", None)
    kinds = declared if isinstance(declared, tuple) else (declared,)
    if not kinds or not set(kinds) <= set(KINDS):
        kind = algorithm if isinstance(algorithm, type) else type(algorithm)
        flaw = "has no learns_from" if declared is None else f"has learns_from={declared!r}"
        raise InvalidOption(
            f"the algorithm {kind.__module__}.{kind.__qualname__} {flaw}; say what it learns "
            f'from, as in `learns_from: ClassVar = "episodes"` (one of {", ".join(KINDS)}, '
            "or a tuple of some)"
        )
    return frozenset(kinds)


AlgorithmReference = str | Mapping[str, Any] | Algorithm[Any]
"""``ppo``, ``{id: ppo, clip_range: 0.1}``, or an algorithm that is made already."""


class OnPolicy(Algorithm[Live], Protocol):
    """An algorithm that learns from rollouts of the policy in training."""

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
    """An algorithm that learns from examples, preferences or unpaired preferences."""

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
    values = {"id": reference} if isinstance(reference, str) else dict(reference)
    if default is not None:
        plain = plain_algorithm(default)
        if values.get("id", plain["id"]) == plain["id"]:
            values = {**plain, **values}
    algorithm: Algorithm[Any] = make_registered(
        "algorithm", values, noun="algorithm", example="ppo"
    )
    return _complete(algorithm)


def _complete(algorithm: Algorithm[Any]) -> Algorithm[Any]:
    """Return an algorithm with a declared `learns_from` and the settings of its kind.

    Raises:
        InvalidOption: it does not, or has not.
    """
    episodes = "episodes" in experience_kinds(algorithm)
    needed = ("steps", "batch_size", "num_generations", "fork") if episodes else ("steps",)
    missing = [name for name in needed if not hasattr(algorithm, name)]
    if missing:
        raise InvalidOption(
            f"the algorithm {algorithm.id} has no setting {' and no '.join(missing)}, which "
            "whoever calls it reads; see superalign_training.algorithms.Algorithm"
        )
    return algorithm


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
            kinds_of = experience_kinds(registry.load("algorithm", name))
        except Exception as error:  # whatever a plug-in raises at its import
            why = f"{name} is left out: {error}"
            warnings.warn(inline(why), RuntimeWarning, stacklevel=2)
            continue
        if not kinds_of.isdisjoint(kinds):
            able.append(name)
    return able


def _checked(*kinds: Kind) -> PlainValidator:
    """Return the validator of a settings field that names an algorithm.

    Args:
        kinds: kinds of experience of which the algorithm has to take one; none: any will
            do.
    """

    def check(reference: Any) -> Algorithm[Any]:
        try:
            algorithm = make_algorithm(reference)
        except UnknownId as error:
            raise ValueError(str(error)) from error  # pydantic names the key then
        if kinds and experience_kinds(algorithm).isdisjoint(kinds):
            raise ValueError(
                f"{algorithm.id} does not learn from {' or '.join(kinds)}; "
                f"{', '.join(algorithms_for(*kinds))} do"
            )
        return algorithm

    return PlainValidator(check)


_as_plain = PlainSerializer(plain_algorithm, return_type=dict[str, Any])

AnyAlgorithm = Annotated[Algorithm[Any], _checked(), _as_plain]
"""Any algorithm, as a field of settings."""

SupervisedAlgorithm = Annotated[
    Supervised, _checked("examples", "preferences", "unpaired_preferences"), _as_plain
]
"""One that learns from examples, preferences or unpaired preferences, as a field of settings."""

ExampleAlgorithm = Annotated[Supervised, _checked("examples"), _as_plain]
"""One that learns what to say where, as a field of settings."""
