"""The zip that Stable-Baselines3 saves, written and read without unpickling anything.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from superalign_env.errors import InvalidOption
from superalign_env.features import LIMIT, Features, HashedText, read_features

_RECORD = "superalign.json"
"""Our member of the zip; SB3 itself looks only for names that it knows."""

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind for kind in (nn.Tanh, nn.ReLU, nn.ELU, nn.GELU, nn.SiLU)
}
_HARMLESS = {
    "activation_fn",
    "net_arch",
    "ortho_init",
    "optimizer_class",
    "optimizer_kwargs",
}
"""Settings of a policy that its weights say already, or that only training needs."""

_Weights = dict[str, torch.Tensor]


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
    given = content.features if features is None else features
    if given is None:
        raise InvalidOption(
            f"{path} does not say which features it was trained on; pass features=…, or save "
            "with superalign_agents.sb3.save_sb3"
        )
    return _rebuild(content, path=path), read_features(given)


class _Content(NamedTuple):
    """What is plain in a zip."""

    weights: _Weights
    settings: Mapping[str, Any]
    """Of the policy's constructor; values that are no JSON are their names."""
    features: Mapping[str, Any] | None


def _read(path: Path) -> _Content:
    try:
        with zipfile.ZipFile(path) as archive:
            raw = io.BytesIO(archive.read("policy.pth"))
            settings = dict(json.loads(archive.read("data"))["policy_kwargs"])
            ours = archive.read(_RECORD) if _RECORD in archive.namelist() else b"{}"
            features = json.loads(ours).get("features")
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
    unknown = {key for key in settings if not key.startswith(":")} - _HARMLESS
    valued = any(name.startswith("q_net.") for name in weights)
    head = "q_net.q_net" if valued else "mlp_extractor.policy_net"
    hidden = _widths(weights, head)
    given = str(settings.get("activation_fn", "ReLU" if valued else "Tanh"))
    named = re.search(r"(\w+)(?:'>)?$", given)
    activation = _ACTIVATIONS.get(named[1]) if named else None
    last = f"{head}.{2 * len(hidden) - 2}.weight" if valued else "action_net.weight"
    if unknown or activation is None or last not in weights:
        raise InvalidOption(
            f"{path} holds a policy that cannot be rebuilt from plain options "
            f"({', '.join(sorted(unknown)) or given}); pass the live model instead"
        )
    first = weights[f"{head}.0.weight" if hidden else last]
    seen = spaces.Box(-LIMIT, LIMIT, (first.shape[1],), dtype=np.float32)
    actions = spaces.Discrete(weights[last].shape[0])
    policy: BasePolicy
    if valued:
        policy = DQNPolicy(
            seen, actions, _constant, net_arch=hidden[:-1], activation_fn=activation
        )
    else:
        values = _widths(weights, "mlp_extractor.value_net")
        policy = ActorCriticPolicy(
            seen,
            actions,
            _constant,
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


def _constant(progress: float) -> float:
    """The learning rate of a policy that is not trained."""
    return 0.0
