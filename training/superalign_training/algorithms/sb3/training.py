"""PPO, DQN and A2C of Stable-Baselines3 on numeric (or token) environments.

Stable-Baselines3 draws from global random states and from nothing else, so training sets
them all to its seed, as TRL's trainers do; the same seed gives the same policy on a CPU.
What was left out: several processes (the environments are much faster than the networks)
and SB3's own logging (curves are returned).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import gymnasium
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from superalign_env.errors import InvalidOption

Algorithm = Literal["ppo", "dqn", "a2c"]

_CLASSES: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "dqn": DQN, "a2c": A2C}

OnEpisode = Callable[[int, float], object]
"""(environment steps so far, return of an episode that has just ended)."""

OnUpdate = Callable[[int, BaseAlgorithm], object]
"""(environment steps so far, the model after it learned from its latest rollout)."""


class Trained(NamedTuple):
    """A model and how it got there."""

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
    algorithm: Algorithm = "ppo",
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
        raise InvalidOption(f"{algorithm!r} is none of {', '.join(get_args(Algorithm))}")
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
    """Keeps the returns of episodes in the order in which they end."""

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
