"""Settings of a learner that improves itself: ``train.ROLE=own``."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from superalign_env.asking import Anyone, name_of
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Learner
from superalign_env.types import Paid
from superalign_training.algorithms.algorithm import LearnsFrom, OnStep
from superalign_training.data import PaidExperience
from superalign_training.sections import Count, Section

if TYPE_CHECKING:  # torch takes seconds to import, and settings need none of it
    from superalign_training.policy import LearnerPolicy


class Own(Section):
    """Settings of a self-improving learner, whose `improve` gets the episodes of each step."""

    id: Literal["own"] = "own"
    learns_from: ClassVar[LearnsFrom] = "paid"
    agent: ClassVar[str] = ""
    """Who holds a role that learns so, unless a lineup names somebody; empty: nobody."""
    steps: Count = 20
    """Calls of `improve`, each with new episodes."""
    batch_size: Count = 32
    """Different cases of a step."""
    num_generations: Count = 1
    """Plays of each case."""

    def learner(
        self, reference: Mapping[str, Any], make: Callable[[], Anyone], *, seed: int
    ) -> Learner:
        """Return the learner that a lineup names.

        Args:
            reference: its ``id`` and options.
            make: makes the agent that it names.
            seed: of a learner that is made here.

        Raises:
            InvalidOption: the agent does not improve itself.
        """
        agent = make()
        if isinstance(agent, Learner):
            return agent
        lacking = [
            method
            for method in ("improve", "save", "load")
            if not callable(getattr(agent, method, None))
        ]
        raise InvalidOption(
            f"{name_of(agent)} ({reference.get('id')}) does not improve itself: it has no "
            f"{' and no '.join(lacking)}; implement Learner (docs/your_policy.md), name an "
            "algorithm for a policy (ppo), or freeze it with null"
        )

    def improve(
        self,
        policy: "LearnerPolicy",
        experience: PaidExperience,
        *,
        seed: int,
        on_step: OnStep | None = None,
    ) -> dict[str, float]:
        """Train a learner in place by its own `improve`; see `Algorithm.improve`.

        Raises:
            InvalidOption: a step in which nobody could be paid.
            ProtocolError: the learner breaks its contract.
        """
        from superalign_training.algorithms.policy_gradient import (  # noqa: PLC0415 - torch takes seconds
            History,
        )

        history = History(None)
        for step in range(self.steps):
            episodes = experience.play(step * self.batch_size, self.batch_size)
            if not episodes:
                raise InvalidOption(
                    f"{policy.name} spoke in none of {self.batch_size} cases, so there is "
                    "nothing to learn from; play more (batch_size), or another scenario"
                )
            history.add(_improved(policy, episodes, step + 1, seed=seed, on_step=on_step))
        return history.outcome()


def _improved(
    policy: "LearnerPolicy",
    episodes: Sequence[Paid],
    step: int,
    *,
    seed: int,
    on_step: OnStep | None,
) -> dict[str, float]:
    """Return the metrics of one step, mean reward included."""
    reward = {"reward": sum(episode.total for episode in episodes) / len(episodes)}
    numbers = dict(reward)

    def tell(update: Mapping[str, float]) -> None:
        numbers.update(update, **reward)
        if on_step is not None:
            on_step(step, {**update, **reward})

    policy.improve(episodes, seed=seed, on_step=tell)
    return numbers
