"""A policy that Stable-Baselines3 trained, in a seat of any episode."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy

from superalign_agents.checkpoints import weights_hash
from superalign_agents.decoding import sample_tokens
from superalign_agents.devices import require_device
from superalign_agents.sb3_zip import load_sb3, save_sb3
from superalign_env.errors import InvalidOption
from superalign_env.features import Features, read_features
from superalign_env.numeric import entry
from superalign_env.seeding import uniforms
from superalign_env.types import AgentSpec, Reply, View


class Sb3Agent:
    """Chooses from the view's menu with a policy of PPO, A2C or DQN.

    A sampled choice is the inverse of the policy's cumulative distribution at one uniform
    number that the view's seed gives: no global random state is read or changed.

    Args:
        path_or_model: a zip that SB3 or `save_sb3` wrote, or a live model, whose policy is
            then shared (see `refresh`). Of a zip only the weights are read, with
            ``weights_only=True``; the network is built anew from plain options. The
            pickles in it are never loaded, so networks with parts of their own are refused.
        features: of the environment that the policy was trained on, as an object or as
            options of `HashedText`; may be left out for a zip that records them.
        deterministic: whether the likeliest action is taken instead of a sampled one.
        device: where a policy that is loaded here shall live.

    Raises:
        InvalidOption: no such file, a network that cannot be rebuilt from plain options,
            features of another size, or sampling from a Q network, which has no
            distribution.
    """

    def __init__(
        self,
        path_or_model: str | Path | BaseAlgorithm,
        *,
        features: Features | Mapping[str, Any] | None = None,
        deterministic: bool = True,
        device: str = "cpu",
    ) -> None:
        if isinstance(path_or_model, BaseAlgorithm):
            self.policy_net: BasePolicy = path_or_model.policy
            self.features = read_features(features)
            self._path = ""
        else:
            self._path = str(path_or_model)
            self.policy_net, self.features = load_sb3(Path(path_or_model), features)
            require_device(device)
            self.policy_net.to(device)
        if not isinstance(self.policy_net, ActorCriticPolicy | DQNPolicy):
            raise InvalidOption(
                f"a {type(self.policy_net).__name__} cannot choose from a menu; train PPO, A2C "
                "or DQN on a numeric_env"
            )
        if not deterministic and isinstance(self.policy_net, DQNPolicy):
            raise InvalidOption(
                "a Q network has no distribution to sample from; use deterministic=True"
            )
        _check_size(self.policy_net.observation_space.shape, self.features)
        self.deterministic = deterministic
        self._policy = ""

    @property
    def policy(self) -> str:
        """Content hash of the weights; computed once, see `refresh`."""
        if not self._policy:
            self._policy = weights_hash(self.policy_net)
        return self._policy

    @property
    def spec(self) -> AgentSpec:
        """The recorded form; the agent can be made again from it when it came from a file."""
        options: dict[str, Any] = {
            "features": self.features.options,
            "deterministic": self.deterministic,
        }
        if self._path:
            options["path_or_model"] = self._path
        return AgentSpec("sb3", options, self.policy)

    def refresh(self) -> None:
        """Forget the hash of the weights: after they were trained."""
        self._policy = ""

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one reply per view, in order; a view without a menu gets an error."""
        able = [view for view in views if view.menu]
        chosen = iter(self.actions(able) if able else ())
        return [
            Reply(entry(view, next(chosen)), finish="stop", policy=self.policy)
            if view.menu
            else Reply(
                "",
                finish="error",
                policy=self.policy,
                error=f"sb3 chooses from menus, and {view.seat} has none at turn {view.turn}",
            )
            for view in views
        ]

    def actions(self, views: Sequence[View]) -> list[int]:
        """Return the action that is taken in each view: of a menu's entries, counted round."""
        rows = np.stack([self.features(view) for view in views])
        scores = self._scores(torch.as_tensor(rows, device=self.policy_net.device))
        draws = torch.as_tensor(uniforms([view.seed for view in views], 1)[:, 0])
        temperature = 0.0 if self.deterministic else 1.0
        chosen, _ = sample_tokens(scores, draws.to(scores.device), temperature)
        actions: list[int] = chosen.tolist()
        return actions

    def _scores(self, rows: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities [B, K] of actions, or their Q values."""
        net = self.policy_net
        with torch.no_grad():
            if isinstance(net, DQNPolicy):
                scores: torch.Tensor = net.q_net(rows)
            else:
                assert isinstance(net, ActorCriticPolicy)
                distribution: Any = net.get_distribution(rows).distribution
                scores = distribution.logits
        return scores


def _check_size(shape: tuple[int, ...] | None, features: Features) -> None:
    if shape != (features.size,):
        raise InvalidOption(
            f"the policy reads observations of shape {shape}, these features have size "
            f"{features.size}; pass the features that it was trained on"
        )


__all__ = ["Sb3Agent", "save_sb3"]
