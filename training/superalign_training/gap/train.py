"""Train the learned gap controller with Stable-Baselines3's PPO on the surrogate."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from superalign_env.seeding import label, mix
from superalign_training.gap.learned import (
    ChainEnv,
    Layer,
    Learned,
    Network,
    read_policy,
    write_policy,
)
from superalign_training.gap.surrogate import Surrogate
from superalign_training.sections import Count, Section

CHAINS = 64
"""Chains that are raised at once."""

OnProgress = Callable[[int], None]
"""(generations so far)."""


class PpoTraining(Section):
    """Settings of PPO."""

    seed: int = 0
    """Of everything."""
    steps: Count = 400_000
    """Generations that are raised in all."""
    num_steps: Count = 64
    """Generations of every chain between two updates."""
    update_epochs: Count = 8
    batch_size: Count = 1024
    learning_rate: float = 3e-3
    """Of Adam; falls linearly to nothing."""
    ent_coef: float = 0.001
    hidden_size: Count = 16
    """Of the two layers of the network."""


def train(
    course: PpoTraining, *, out: Path, on_progress: OnProgress | None = None
) -> Learned:
    """Train a gap policy on the surrogate and write it; the same settings, the same bytes.

    Args:
        course: how.
        out: the file.
        on_progress: called after every generation of all chains.

    Returns:
        The policy.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = _learn(course, on_progress)
    finally:
        torch.set_num_threads(threads)
    write_policy(_network(model), {"course": course.model_dump()}, out)
    read_policy.cache_clear()
    return Learned(policy=str(out))


def _learn(course: PpoTraining, on_progress: OnProgress | None) -> PPO:
    env = DummyVecEnv([lambda: ChainEnv(Surrogate())] * CHAINS)
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=course.num_steps,
        batch_size=course.batch_size,
        n_epochs=course.update_epochs,
        learning_rate=lambda remaining: course.learning_rate * remaining,
        gamma=1.0,
        gae_lambda=0.95,
        ent_coef=course.ent_coef,
        policy_kwargs={"net_arch": [course.hidden_size, course.hidden_size]},
        seed=mix(course.seed, label("gap")) % 2**31,
        device="cpu",
    )
    return model.learn(course.steps, callback=_Progress(on_progress))


class _Progress(BaseCallback):
    """Report the number of generations so far."""

    def __init__(self, tell: OnProgress | None) -> None:
        super().__init__()
        self._tell = tell

    def _on_step(self) -> bool:
        if self._tell is not None:
            self._tell(self.num_timesteps)
        return True


def _network(model: PPO) -> Network:
    """Return the layers of the action network."""
    extractor: Any = model.policy.mlp_extractor
    linear = [part for part in extractor.policy_net if isinstance(part, torch.nn.Linear)]
    return Network(tuple(map(_layer, [*linear, model.policy.action_net])))


def _layer(part: Any) -> Layer:
    return Layer(
        part.weight.detach().numpy().astype(np.float64),
        part.bias.detach().numpy().astype(np.float64),
    )
