"""The one thing that all algorithms can do."""

from typing import Protocol, TypeVar

from superalign_training.algorithms.trainers.arguments import OnStep
from superalign_training.policy import Policy

ExperienceT_contra = TypeVar("ExperienceT_contra", contravariant=True)


class Algorithm(Protocol[ExperienceT_contra]):
    """A way of improving a policy; its settings are the fields of the object.

    What it learns from is a matter of the kind: examples (SFT), preferences (DPO, reward
    model), opinions (KTO), live or stored episodes (GRPO, RLOO, REINFORCE, PPO).
    """

    @property
    def id(self) -> str:
        """As the registry knows it."""
        ...

    def improve(
        self,
        policy: Policy,
        experience: ExperienceT_contra,
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Improve a policy in place and return what there is to say about it.

        Args:
            policy: changed in place; its optimiser goes on where it stopped.
            experience: what it learns from.
            seed: of everything random in training; another one for every call.
            on_step: called after every optimiser step.
        """
        ...
