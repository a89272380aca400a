"""Agent with a policy of Stable-Baselines3, and the zip file that it is saved in.

The zip holds weights (`policy.pth`) and everything else as cloudpickle, which can run any
code when loaded. Here only the weights are read (``torch.load`` with
``weights_only=True``); the network is built anew from what is plain in the file: layer
sizes from the shapes of the weights, the activation's name, and the features' options,
which `save_sb3` writes beside them.
"""

import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from superalign_agents.checkpoints import weights_hash
from superalign_agents.decoding import sample_tokens
from superalign_agents.devices import require_device
from superalign_env.errors import InvalidOption
from superalign_env.features import LIMIT, Features, HashedText, read_features
from superalign_env.numeric import entry
from superalign_env.seeding import uniforms
from superalign_env.types import AgentSpec, Reply, View

_RECORD = "superalign.json"
"""Our member of the zip; SB3 itself looks only for names that it knows."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Tanh, nn.ReLU, nn.ELU, nn.GELU, nn.SiLU)
}

_IGNORED_SETTINGS = {
    "activation_fn",
    "net_arch",
    "ortho_init",
    "optimizer_class",
    "optimizer_kwargs",
}
"""Settings of a policy that its weights say already, or that only training needs."""

_Weights = dict[str, torch.Tensor]


class Sb3Agent:
    """PPO, A2C or DQN policy that chooses from the view's menu.

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
        """The recorded form; it makes the agent again if that came from a file."""
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
        with_menu = [view for view in views if view.menu]
        actions = iter(self.actions(with_menu) if with_menu else ())
        return [
            Reply(entry(view, next(actions)), finish="stop", policy=self.policy)
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
        """Return the action of each view, an index into its menu modulo the menu's length."""
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


def save_sb3(model: BaseAlgorithm, path: str | Path, *, features: Features) -> Path:
    """Save an SB3 model so that `Sb3Agent` (and SB3 itself) can load it from the path alone.

    Args:
        model: PPO, A2C or DQN, trained on a `NumericEnv`.
        path: a file; ``.zip`` is added where it is missing.
        features: those of the environment. `HashedText` is recorded; features of one's own
            must be passed to `Sb3Agent` again.
    """
    path = Path(path)
    path = path if path.suffix == ".zip" else path.with_name(path.name + ".zip")
    model.save(path)
    if isinstance(features, HashedText):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_RECORD, json.dumps({"features": features.options}))
    return path


def load_sb3(
    path: Path, features: Features | Mapping[str, Any] | None = None
) -> tuple[BasePolicy, Features]:
    """Return the policy in a zip, on the CPU, and the features that it reads.

    Args:
        path: what SB3's ``save`` or `save_sb3` wrote.
        features: None takes those that the zip records.

    Raises:
        InvalidOption: no such file, weights that are no plain tensors, a network that
            cannot be rebuilt from plain options, or no word about the features.
    """
    content = _read(path)
    features = content.features if features is None else features
    if features is None:
        raise InvalidOption(
            f"{path} does not say which features it was trained on; pass features=…, or save "
            "with superalign_agents.sb3.save_sb3"
        )
    return _rebuild(content, path=path), read_features(features)


class _Content(NamedTuple):
    """The parts of a zip that are read without unpickling."""

    weights: _Weights
    settings: Mapping[str, Any]
    """Of the policy's constructor; values that are no JSON are their names."""
    features: Mapping[str, Any] | None


def _read(path: Path) -> _Content:
    try:
        with zipfile.ZipFile(path) as archive:
            raw = io.BytesIO(archive.read("policy.pth"))
            settings = dict(json.loads(archive.read("data"))["policy_kwargs"])
            member = archive.read(_RECORD) if _RECORD in archive.namelist() else b"{}"
            features = json.loads(member).get("features")
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidOption(
            f"{path} is no saved model of Stable-Baselines3: {error}; write one with "
            "superalign_agents.sb3.save_sb3"
        ) from error
    try:
        weights: _Weights = torch.load(raw, map_location="cpu", weights_only=True)
        plain = all(isinstance(value, torch.Tensor) for value in weights.values())
    except Exception as error:  # pickle's own among them, and nothing here imports pickle
        raise InvalidOption(
            f"the weights in {path} cannot be read safely: {error}"
        ) from error
    if not plain:
        raise InvalidOption(f"policy.pth in {path} holds more than named tensors")
    return _Content(weights, settings, features)


def _rebuild(content: _Content, *, path: Path) -> BasePolicy:
    """Return the policy with these weights; its shape is theirs."""
    weights, settings, _ = content
    unknown = {key for key in settings if not key.startswith(":")} - _IGNORED_SETTINGS
    is_dqn = any(name.startswith("q_net.") for name in weights)
    head = "q_net.q_net" if is_dqn else "mlp_extractor.policy_net"
    hidden = _widths(weights, head)
    activation_fn = str(settings.get("activation_fn", "ReLU" if is_dqn else "Tanh"))
    class_name = re.search(r"(\w+)(?:'>)?$", activation_fn)
    activation = _ACTIVATIONS.get(class_name[1]) if class_name else None
    last = f"{head}.{2 * len(hidden) - 2}.weight" if is_dqn else "action_net.weight"
    if unknown or activation is None or last not in weights:
        raise InvalidOption(
            f"{path} holds a policy that cannot be rebuilt from plain options "
            f"({', '.join(sorted(unknown)) or activation_fn}); pass the live model instead"
        )
    first = weights[f"{head}.0.weight" if hidden else last]
    observation_space = spaces.Box(-LIMIT, LIMIT, (first.shape[1],), dtype=np.float32)
    action_space = spaces.Discrete(weights[last].shape[0])
    policy: BasePolicy
    if is_dqn:
        policy = DQNPolicy(
            observation_space,
            action_space,
            _no_learning_rate,
            net_arch=hidden[:-1],
            activation_fn=activation,
        )
    else:
        values = _widths(weights, "mlp_extractor.value_net")
        policy = ActorCriticPolicy(
            observation_space,
            action_space,
            _no_learning_rate,
            net_arch={"pi": hidden, "vf": values},
            activation_fn=activation,
        )
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        raise InvalidOption(f"{path} holds more than a plain policy: {error}") from error
    policy.set_training_mode(False)
    return policy


def _widths(weights: _Weights, head: str) -> list[int]:
    """Return the output widths of a stack of layers, in order."""
    named = re.compile(rf"{re.escape(head)}\.(\d+)\.weight")
    layers = {
        int(m[1]): weights[m[0]].shape[0]
        for name in weights
        if (m := named.fullmatch(name))
    }
    return [layers[place] for place in sorted(layers)]


def _no_learning_rate(progress: float) -> float:
    """Return the learning rate of a policy that is not trained."""
    return 0.0


def _check_size(shape: tuple[int, ...] | None, features: Features) -> None:
    if shape != (features.size,):
        raise InvalidOption(
            f"the policy reads observations of shape {shape}, these features have size "
            f"{features.size}; pass the features that it was trained on"
        )


__all__ = ["Sb3Agent", "load_sb3", "save_sb3"]
