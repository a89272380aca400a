"""Stable-Baselines3's PPO in a seat whose views have menus: ``train.ROLE=sb3-ppo``."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from superalign_env.asking import Anyone
from superalign_env.errors import InvalidOption
from superalign_env.protocols import Learner
from superalign_training.algorithms.own import Own
from superalign_training.sections import Count, Plural, Share


class Sb3Ppo(Own):
    """PPO of Stable-Baselines3 on features of a view and an index into its menu.

    The network is the agent ``sb3``; it is filled in for a role whose agent nobody names.
    Learns from episodes that the run plays, so resume, checkpoints and evaluation are those
    of every policy.
    """

    id: Literal["sb3-ppo"] = "sb3-ppo"  # type: ignore[assignment]  # another algorithm
    agent: ClassVar[str] = "sb3"
    batch_size: Count = 64
    """Different cases of a step."""
    learning_rate: PositiveFloat = 1e-3
    clip_range: PositiveFloat = 0.2
    update_epochs: Count = 10
    minibatch_size: Plural = 64
    """Turns of one gradient step."""
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    ent_coef: NonNegativeFloat = 0.01
    vf_coef: NonNegativeFloat = 0.5
    max_grad_norm: PositiveFloat = 0.5
    choices: Plural = 32
    """Entries of a menu that can be said; best the length of the longest one."""
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (64, 64)
    """Widths of the hidden layers."""

    def learner(
        self, reference: Mapping[str, Any], make: Callable[[], Anyone], *, seed: int
    ) -> Learner:
        """Return a fresh network; see `Own.learner`.

        Raises:
            InvalidOption: Stable-Baselines3 is missing, or the seat is held by another agent.
        """
        if find_spec("stable_baselines3") is None:
            raise InvalidOption(
                "sb3-ppo needs Stable-Baselines3, which is not installed; pip install "
                "'superalign-env[train]'"
            )
        options = {key: value for key, value in reference.items() if key != "id"}
        device = str(options.pop("device", "cpu"))
        unknown = sorted(set(options) - {"features"})
        if reference.get("id") != self.agent or unknown:
            agent = f"its {', '.join(unknown)}" if unknown else str(reference.get("id"))
            raise InvalidOption(
                f"sb3-ppo trains a fresh network, the agent sb3 with the option features, and "
                f"cannot train {agent}; leave it out, or choose an algorithm for that agent"
            )
        module = import_module("superalign_training.algorithms.sb3.learner")
        learner: Learner = module.Sb3Learner(
            self, features=options.get("features"), device=device, seed=seed
        )
        return learner
