"""The contract of every algorithm."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeVar, get_args

from superalign_env.errors import InvalidOption

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import Policy

Kind = Literal["examples", "preferences", "opinions", "episodes", "paid"]
"""A kind of experience."""

KINDS: tuple[Kind, ...] = get_args(Kind)

LearnsFrom = Kind | tuple[Kind, ...]
"""One kind of experience, or several, any of which `improve` may be given."""

OnStep = Callable[[int, Mapping[str, float]], object]
"""(steps done, numbers of this step); ``loss`` is recorded as ``train/loss``."""

RefPolicy = Literal["round", "original"]
"""The policy as it is when `improve` is called, or as it was before any training (with LoRA:
the base without its adapter)."""

ExperienceT_contra = TypeVar("ExperienceT_contra", contravariant=True)


class Algorithm(Protocol[ExperienceT_contra]):
    """A way of improving a policy; its settings are the fields of the object.

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
    * ``opinions``: a sequence of `Opinion`, a completion and whether it is good (KTO);
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
    named = declared if isinstance(declared, tuple) else (declared,)
    if not named or not set(named) <= set(KINDS):
        kind = algorithm if isinstance(algorithm, type) else type(algorithm)
        said = "has no learns_from" if declared is None else f"has learns_from={declared!r}"
        raise InvalidOption(
            f"the algorithm {kind.__module__}.{kind.__qualname__} {said}; say what it learns "
            f'from, as in `learns_from: ClassVar = "episodes"` (one of {", ".join(KINDS)}, '
            "or a tuple of some)"
        )
    return frozenset(named)
