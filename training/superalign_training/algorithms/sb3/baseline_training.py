"""PPO, DQN and A2C of Stable-Baselines3 on numeric environments, or of a causal LM on `token_env`.

Stable-Baselines3 draws from global random states and from nothing else, so training sets
them all to its seed, as TRL's trainers do; the same seed gives the same policy on a CPU.
What was left out: several processes (the environments are much faster than the networks),
SB3's own logging (curves are returned), and for the LM a cache of keys and values: every token
reads its whole context again, so it is the reference to compare with, not the quick way.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Self, cast, get_args

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn
from transformers import PreTrainedModel

from superalign_agents.batching import positions
from superalign_env.errors import InvalidOption

Sb3Algorithm = Literal["ppo", "dqn", "a2c"]

_CLASSES: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "dqn": DQN, "a2c": A2C}

OnEpisode = Callable[[int, float], object]
"""(environment steps so far, return of an episode that has just ended)."""

OnUpdate = Callable[[int, BaseAlgorithm], object]
"""(environment steps so far, the model after it learned from its latest rollout)."""


class Trained(NamedTuple):
    """A trained model and its learning curve."""

    model: BaseAlgorithm
    """Its policy plays through `superalign_agents.sb3.Sb3Agent`."""
    steps: tuple[int, ...]
    """Environment steps at which episodes ended, over all copies."""
    returns: tuple[float, ...]
    """What each of these episodes paid."""

    def last(self, share: float = 0.1) -> float:
        """Return the mean return of the last share of the episodes.

        Raises:
            InvalidOption: no episode ended.
        """
        if not self.returns:
            raise InvalidOption("no episode ended in training; train for more steps")
        n = max(1, round(len(self.returns) * share))
        return sum(self.returns[-n:]) / n


def train_baseline(  # noqa: PLR0913 - settings of a baseline; all but two are keywords
    make_env: Callable[[], gymnasium.Env[Any, Any]],
    algorithm: Sb3Algorithm = "ppo",
    *,
    steps: int,
    seed: int,
    copies: int = 4,
    policy: str | type[Any] = "MlpPolicy",
    options: Mapping[str, Any] | None = None,
    on_episode: OnEpisode | None = None,
    on_update: OnUpdate | None = None,
) -> Trained:
    """Train one of Stable-Baselines3's algorithms.

    Args:
        make_env: returns a new environment: `numeric_env(…)`, `TokenEnv(…)`. Copy ``i``
            plays the cases of the run with seed ``seed + i``.
        algorithm: which.
        steps: environment steps of all copies together; rounded up to whole rollouts.
        seed: of the network, of exploration and of the cases.
        copies: environments that are stepped side by side.
        policy: SB3's policy class or its name.
        options: further constructor arguments of the algorithm (learning_rate, n_steps,
            policy_kwargs, device, …).
        on_episode: called whenever an episode ends.
        on_update: called after every rollout was learned from.

    Raises:
        InvalidOption: an unknown algorithm, one copy or step too few, or an option that
            the algorithm does not take.
    """
    if algorithm not in _CLASSES:
        raise InvalidOption(f"{algorithm!r} is none of {', '.join(get_args(Sb3Algorithm))}")
    if steps < 1 or copies < 1:
        raise InvalidOption(f"steps={steps} and copies={copies} must be at least 1")
    vector = DummyVecEnv([lambda: Monitor(make_env())] * copies)
    settings = {"device": "cpu", "verbose": 0, **(options or {})}
    try:
        model = _CLASSES[algorithm](policy, vector, seed=seed, **settings)
    except TypeError as error:
        raise InvalidOption(f"{algorithm} with {sorted(settings)}: {error}") from error
    curve = _Curve(on_episode, on_update)
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own would make a folder
    model.learn(total_timesteps=steps, callback=curve, progress_bar=False)
    return Trained(model, tuple(curve.steps), tuple(curve.returns))


class _Curve(BaseCallback):
    """Returns of episodes in the order in which they end."""

    def __init__(self, on_episode: OnEpisode | None, on_update: OnUpdate | None) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.returns: list[float] = []
        self._on_episode = on_episode
        self._on_update = on_update

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:  # Monitor adds it at an episode's end
                self.steps.append(self.num_timesteps)
                self.returns.append(float(info["episode"]["r"]))
                if self._on_episode is not None:
                    self._on_episode(self.steps[-1], self.returns[-1])
        return True

    def _on_rollout_start(self) -> None:
        # What it learned from the rollout before this one is in the model only now.
        if self.num_timesteps and self._on_update is not None:
            self._on_update(self.num_timesteps, self.model)

    def _on_training_end(self) -> None:
        self._on_rollout_start()


class CausalFeatures(BaseFeaturesExtractor):
    """The last hidden state of a causal LM at the last token, as features.

    Args:
        observation_space: of a `TokenEnv`.
        model: copied, in float32; the original is left alone. Dropout stays off, because
            PPO compares two passes over the same tokens.
    """

    def __init__(self, observation_space: spaces.Box, model: PreTrainedModel) -> None:
        twin: Any = copy.deepcopy(model)  # transformers leaves these methods untyped
        width = twin.get_output_embeddings().weight.shape[1]
        super().__init__(observation_space, features_dim=int(width))
        self.model: PreTrainedModel = twin.float()

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Return features [B, H].

        Args:
            observations: [B, T] right-aligned ids, `NOTHING` (negative) before them.
        """
        mask = observations >= 0
        # After an episode there is nothing to read; attention must see something all the same.
        mask[:, -1] = True
        start = int(mask.any(dim=0).int().argmax())
        mask, ids = mask[:, start:], observations[:, start:].long().clamp(min=0)
        output = self.model.base_model(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions(mask),
            use_cache=False,
        )
        features: torch.Tensor = output.last_hidden_state[:, -1]
        return features

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the model's dropout."""
        super().train(mode)
        self.model.train(False)
        return self


class CausalPolicy(ActorCriticPolicy):
    """Actor and critic on one causal LM: its head acts, a new linear layer values.

    ``PPO(CausalPolicy, token_env(…), policy_kwargs={"model": agent.model})``; afterwards
    `language_model` is the trained LM.

    Args:
        observation_space: of a `TokenEnv`.
        action_space: of a `TokenEnv`.
        lr_schedule: Stable-Baselines3's learning-rate schedule.
        model: the LM to start from; copied.
        **options: of the optimiser, as in SB3.

    Raises:
        InvalidOption: a model whose logits are more than its head applied to its last
            hidden state (soft-capped or scaled ones).
    """

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        *,
        model: PreTrainedModel,
        **options: Any,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            ortho_init=False,  # it would overwrite the LM
            features_extractor_class=CausalFeatures,
            features_extractor_kwargs={"model": model},
            **options,
        )

    @property
    def language_model(self) -> PreTrainedModel:
        """The LM in training; speaks through a `TransformerAgent`."""
        return cast(CausalFeatures, self.features_extractor).model

    def _build(self, lr_schedule: Schedule) -> None:
        """Put the LM's head in the place of a fresh action network."""
        super()._build(lr_schedule)
        model: Any = self.language_model
        self.action_net = model.get_output_embeddings()
        nn.init.zeros_(self.value_net.weight)
        nn.init.zeros_(self.value_net.bias)
        self._check_head()
        # The first optimiser knows the layer that was replaced.
        kind: Any = self.optimizer_class
        self.optimizer = kind(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _check_head(self) -> None:
        # Several ids: the embedding of a padding token may be zero.
        ids = torch.arange(8, device=self.language_model.device)[None]
        with torch.no_grad():
            ours = self.action_net(self.features_extractor(ids))[0]
            theirs = self.language_model(input_ids=ids).logits[0, -1]
        if (ours - theirs).abs().max() > 1e-4 * ours.abs().max():
            raise InvalidOption(
                f"{type(self.language_model).__name__} does more to its logits than its head "
                "says (soft caps, scales); train it with an algorithm of ours"
            )
