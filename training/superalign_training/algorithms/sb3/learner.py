"""Stable-Baselines3's PPO as a `Learner`: its rollout buffer is filled with played episodes."""

import copy
import json
from collections.abc import Generator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from superalign_agents.sb3 import Sb3Agent
from superalign_env.features import LIMIT, Features, read_features
from superalign_env.protocols import OnStep
from superalign_env.seeding import generator
from superalign_env.types import AgentSpec, Paid, PaidTurn, Reply, View

if TYPE_CHECKING:
    from superalign_training.algorithms.sb3.sb3_ppo import Sb3Ppo

_RENAMED = {"policy_gradient_loss": "policy_loss"}
"""SB3's name of a number → the one that our algorithms use."""

_FLATTENED = (
    *("observations", "actions", "values"),
    *("log_probs", "advantages", "returns"),
)
_LEFT_OUT = ("n_updates", "std")


class Sb3Learner:
    """PPO's network in a seat; it samples from the menu during and after training.

    Args:
        rules: settings of the algorithm.
        features: what is seen, or options of `HashedText`.
        device: of the network.
        seed: of its first weights.
    """

    def __init__(
        self,
        rules: "Sb3Ppo",
        *,
        features: Features | Mapping[str, Any] | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self._rules = rules
        self._features = read_features(features)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._model = PPO(
                "MlpPolicy",
                _Spaces(self._features.size, rules.choices),
                learning_rate=rules.learning_rate,
                n_steps=rules.minibatch_size,  # of a buffer that is never used
                batch_size=rules.minibatch_size,
                n_epochs=rules.update_epochs,
                gamma=rules.gamma,
                gae_lambda=rules.gae_lambda,
                clip_range=rules.clip_range,
                ent_coef=rules.ent_coef,
                vf_coef=rules.vf_coef,
                max_grad_norm=rules.max_grad_norm,
                policy_kwargs={"net_arch": list(rules.hidden)},
                device=device,
            )
        self._model.set_logger(Logger(folder=None, output_formats=[]))
        self._agent = Sb3Agent(self._model, features=self._features, deterministic=False)

    @property
    def spec(self) -> AgentSpec:
        """Features of a view, and the largest menu."""
        options = {"features": self._features.options, "choices": self._rules.choices}
        return AgentSpec("sb3", options)

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return an entry of each view's menu; a view without one gets an error."""
        return self._agent.act(views)

    def improve(
        self, episodes: Sequence[Paid], *, seed: int, on_step: OnStep
    ) -> dict[str, float]:
        """Take PPO's epochs over the turns of the episodes."""
        model = self._model
        turns = self._chosen(episodes)
        if len(turns.actions) < 2:  # SB3 normalises advantages: one has no deviation
            return {}
        buffer = _Buffer(
            len(turns.actions),
            model.observation_space,
            model.action_space,
            device=model.device,
            gae_lambda=model.gae_lambda,
            gamma=model.gamma,
        )
        buffer.order = generator(seed)
        with torch.no_grad():
            values, logprobs, _ = model.policy.evaluate_actions(
                torch.as_tensor(turns.seen, device=model.device),
                torch.as_tensor(turns.actions, device=model.device),
            )
        for place, action in enumerate(turns.actions):
            buffer.add(
                turns.seen[place][None],
                np.array([[action]]),
                np.array([turns.pay[place]]),
                np.array([turns.starts[place]]),
                values[place],
                logprobs[place][None],
            )
        buffer.compute_returns_and_advantage(torch.zeros(1), np.ones(1))
        model.rollout_buffer = buffer
        model.num_timesteps += len(turns.actions)
        model.train()
        model.policy.set_training_mode(False)
        self._agent.refresh()
        return _numbers(model.logger.name_to_value)

    def save(self, folder: Path) -> None:
        """Write weights, the optimiser's moments, and counts."""
        weights = self._model.policy.state_dict()
        moments = self._model.policy.optimizer.state_dict()["state"]
        flat = {f"{n}.{key}": t for n, state in moments.items() for key, t in state.items()}
        for name, tensors in (("policy", weights), ("optimizer", flat)):
            plain = {
                key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()
            }
            save_file(plain, folder / f"{name}.safetensors")
        counts = {
            "features": self._features.options,
            "n_updates": self._model._n_updates,
            "num_timesteps": self._model.num_timesteps,
        }
        (folder / "sb3.json").write_text(json.dumps(counts, indent=1, sort_keys=True))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        counts = json.loads((folder / "sb3.json").read_text())
        self._model.num_timesteps = int(counts["num_timesteps"])
        self._model._n_updates = int(counts["n_updates"])
        device = str(self._model.device)
        self._model.policy.load_state_dict(
            load_file(folder / "policy.safetensors", device=device)
        )
        optimizer = self._model.policy.optimizer
        state = optimizer.state_dict()
        state["state"] = {}
        for name, tensor in load_file(folder / "optimizer.safetensors").items():
            number, _, key = name.partition(".")
            state["state"].setdefault(int(number), {})[key] = tensor
        optimizer.load_state_dict(state)
        self._agent.refresh()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sb3Learner":
        """Return a copy of the network; SB3's model holds what cannot be copied."""
        twin = Sb3Learner(
            self._rules, features=self._features, device=str(self._model.device)
        )
        twin._model.policy.load_state_dict(self._model.policy.state_dict())
        twin._model.policy.optimizer.load_state_dict(
            copy.deepcopy(self._model.policy.optimizer.state_dict())
        )
        twin._model._n_updates = self._model._n_updates
        twin._model.num_timesteps = self._model.num_timesteps
        return twin

    def _chosen(self, episodes: Sequence[Paid]) -> "_Turns":
        """Return the turns whose text was an entry of the menu.

        The action is drawn again, from the same weights and the view's seed: beyond a menu's
        end several actions say one entry, and PPO weighs the one that was taken.
        """
        turns: list[tuple[bool, PaidTurn]] = []
        for episode in episodes:
            for turn in episode.turns:
                if turn.text in turn.view.menu:
                    new_episode = (
                        not turns or turns[-1][1].view.episode != turn.view.episode
                    )
                    other_seat = bool(turns) and turns[-1][1].view.seat != turn.view.seat
                    turns.append((new_episode or other_seat, turn))
        if not turns:
            return _Turns(np.zeros((0, self._features.size), np.float32), [], [], [])
        views = [turn.view for _, turn in turns]
        sampled = self._agent.actions(views)
        actions = [
            action
            if view.menu[action % len(view.menu)] == turn.text
            else view.menu.index(turn.text)
            for action, view, (_, turn) in zip(sampled, views, turns, strict=True)
        ]
        return _Turns(
            np.stack([self._features(view) for view in views]),
            actions,
            [turn.pay for _, turn in turns],
            [float(start) for start, _ in turns],
        )


class _Turns(NamedTuple):
    seen: NDArray[np.float32]
    """Features [turns, size]."""
    actions: list[int]
    pay: list[float]
    starts: list[float]
    """1 where an episode of a seat begins."""


class _Spaces(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Environment with spaces alone: SB3 needs one before training."""

    def __init__(self, size: int, choices: int) -> None:
        self.observation_space = spaces.Box(-LIMIT, LIMIT, (size,), dtype=np.float32)
        self.action_space = spaces.Discrete(choices)


def _numbers(logged: Mapping[str, Any]) -> dict[str, float]:
    """Return PPO's logged metrics under our names, without an undefined explained variance."""
    numbers = {}
    for name, value in logged.items():
        plain = name.removeprefix("train/")
        if plain not in _LEFT_OUT and isfinite(float(value)):
            numbers[_RENAMED.get(plain, plain)] = float(value)
    if "entropy_loss" in numbers:  # of which it is the negative mean
        numbers["entropy"] = -numbers.pop("entropy_loss")
    return numbers


class _Buffer(RolloutBuffer):
    """A rollout buffer shuffled by its own generator instead of the global one."""

    order: np.random.Generator

    def get(
        self, batch_size: int | None = None
    ) -> Generator[RolloutBufferSamples, None, None]:
        """Yield the turns in a new order, in minibatches."""
        if not self.generator_ready:
            for name in _FLATTENED:
                self.__dict__[name] = self.swap_and_flatten(self.__dict__[name])
            self.generator_ready = True
        places = self.order.permutation(self.buffer_size)
        size = batch_size or self.buffer_size
        for start in range(0, self.buffer_size, size):
            yield self._get_samples(places[start : start + size])
