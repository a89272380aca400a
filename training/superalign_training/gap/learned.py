"""The learned gap controller, and the Gymnasium environment that it is trained in."""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pydantic import Field

from superalign_env.errors import InvalidOption
from superalign_training.gap.controller import (
    GenerationStats,
    check_ladder,
    climb,
    standing,
)
from superalign_training.sections import Section

SHIPPED = Path(__file__).with_name("learned.json")
"""Comes with the package; `superalign gap train` makes it again, byte for byte."""

FORMAT = "superalign-gap-1"

SHARES = 5
"""Actions: the least gap, a quarter, half, three quarters and all of what is left."""

SHOWN_GENERATIONS = 2
"""Newest generations in an observation."""

_PLACES = 7
_PER_GENERATION = 8
SIZE = _PLACES + SHOWN_GENERATIONS * _PER_GENERATION
"""Numbers in an observation."""

Numbers = NDArray[np.float32]

_Weights = NDArray[np.float64]


class ChainModel(Protocol):
    """A chain of generations as an environment: a real one, or a surrogate."""

    @property
    def levels(self) -> int:
        """Number of levels on the ladder."""
        ...

    @property
    def generations(self) -> int:
        """Number of generations."""
        ...

    def reset(self, seed: int) -> None:
        """Begin another chain, seeded by the seed alone."""
        ...

    def play(self, level: int) -> GenerationStats:
        """Raise the next generation from a level and return its statistics."""
        ...

    def worth(self) -> float:
        """Return the utility of the chain now, from 0 to 1.

        Of a real chain that is the newest accepted generation's agreement with people, who
        may be wrong; a model may know the utility that it simulates.
        """
        ...


class ChainEnv(gymnasium.Env[Numbers, np.int64]):
    """A chain as an environment: a step is a generation, an action is its gap.

    The observation is what every `GapController` may see, as `observe` writes it. The
    reward is the increase of the chain's worth, minus the cost of a generation that was
    rolled back.

    Args:
        model: the chain.
        rollback_cost: of a generation that the gate refused.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium's declaration

    def __init__(self, model: ChainModel, *, rollback_cost: float = 0.01) -> None:
        if not rollback_cost >= 0:
            raise InvalidOption(f"rollback_cost={rollback_cost} must be at least 0")
        self.model = model
        self.rollback_cost = rollback_cost
        self.observation_space = spaces.Box(0.0, 1.0, (SIZE,), dtype=np.float32)
        self.action_space = spaces.Discrete(SHARES)
        self.history: list[GenerationStats] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Numbers, dict[str, Any]]:
        """Begin another chain."""
        super().reset(seed=seed)
        self.model.reset(int(self.np_random.integers(2**53)))
        self.history = []
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Numbers, float, bool, bool, dict[str, Any]]:
        """Raise one generation."""
        levels = self.model.levels
        level = level_of(int(action), self.history, levels=levels)
        before = self.model.worth()
        stats = self.model.play(level)
        self.history.append(stats)
        reward = self.model.worth() - before
        if not stats.accepted:
            reward -= self.rollback_cost
        over = len(self.history) >= self.model.generations
        return self._observation(), reward, over, False, {"level": level, "stats": stats}

    def _observation(self) -> Numbers:
        return observe(
            self.history, levels=self.model.levels, generations=self.model.generations
        )


def level_of(action: int, history: Sequence[GenerationStats], *, levels: int) -> int:
    """Return the level to which an action leads.

    Args:
        action: 0 is one level, `SHARES` - 1 is the top, between them are equal shares of
            what is left, of one level at least.
        history: of all finished generations.
        levels: number of levels on the ladder.
    """
    at = standing(history)
    room = levels - 1 - at.level
    return climb(at.level, max(1, round(room * action / (SHARES - 1))), levels=levels)


def observe(
    history: Sequence[GenerationStats], *, levels: int, generations: int
) -> Numbers:
    """Return the observation of a chain: `SIZE` numbers from 0 to 1.

    Seven numbers are its position (place on the ladder, generations left, sizes,
    rollbacks, the gap that was just refused, whether anything was accepted yet), and eight
    each are the statistics of the newest generations, all 0 where there are none.
    """
    at = standing(history)
    top = max(levels - 1, 1)
    numbers = [
        (at.level + 1) / levels,
        max(generations - len(history), 0) / max(generations, 1),
        1 / levels,
        1 / max(generations, 1),
        1 - 0.5**at.failures,
        max(at.tried, 0) / levels,
        float(at.accepted > 0),
    ]
    newest = [*reversed(history)][:SHOWN_GENERATIONS]
    for stats in newest:
        has_labels = stats.human_agreement is not None
        numbers += [
            1.0,
            float(stats.accepted),
            stats.level / top,
            stats.disagreement,
            stats.misfit,
            stats.confidence,
            stats.human_agreement if stats.human_agreement is not None else 0.0,
            stats.human_labels / (stats.human_labels + 20) if has_labels else 0.0,
        ]
    numbers += [0.0] * (SIZE - len(numbers))
    return np.clip(np.asarray(numbers, dtype=np.float32), 0.0, 1.0)


class Layer(NamedTuple):
    """One layer of the network."""

    weights: _Weights
    """[out, in]"""
    bias: _Weights
    """[out]"""


class Network(NamedTuple):
    """Layers with tanh between them; the last one scores actions."""

    layers: tuple[Layer, ...]

    def scores(self, observation: Sequence[float] | NDArray[Any]) -> _Weights:
        """Return the score of each action."""
        numbers = np.asarray(observation, dtype=np.float64)
        for number, layer in enumerate(self.layers):
            numbers = layer.weights @ numbers + layer.bias
            if number < len(self.layers) - 1:
                numbers = np.tanh(numbers)
        return numbers


class Learned(Section):
    """The likeliest action of a policy that Stable-Baselines3's PPO trained on a surrogate.

    The network is a few hundred numbers in a JSON file, and nothing in the file can run.
    """

    id: Literal["learned"] = "learned"
    oracle: ClassVar[bool] = False
    policy: Annotated[str, Field()] = ""
    """File that ``superalign gap train --out`` wrote; empty takes the one that comes with
    the package."""

    def check(self, levels: int, generations: int) -> None:
        """Refuse a file that holds no such policy.

        Raises:
            InvalidOption: says what to change.
        """
        check_ladder(levels, generations)
        self.network()

    def choose(
        self, history: Sequence[GenerationStats], *, levels: int, generations: int
    ) -> int:
        """Return the level to which the likeliest action leads."""
        observation = observe(history, levels=levels, generations=generations)
        action = int(self.network().scores(observation).argmax())
        return level_of(action, history, levels=levels)

    def network(self) -> Network:
        """Return the network in the file.

        Raises:
            InvalidOption: there is none, or it does not fit observations and actions.
        """
        return read_policy(Path(self.policy) if self.policy else SHIPPED)


@lru_cache(maxsize=8)
def read_policy(path: Path) -> Network:
    """Return the network in a file.

    Raises:
        InvalidOption: no such file, or nothing that fits observations and actions.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        layers = tuple(
            Layer(
                np.asarray(layer["weights"], dtype=np.float64),
                np.asarray(layer["bias"], dtype=np.float64),
            )
            for layer in content["layers"]
        )
        sizes = [SIZE, *(len(layer.bias) for layer in layers)]
        fits = content["format"] == FORMAT and sizes[-1] == SHARES and len(layers) > 0
        fits = fits and all(
            layer.weights.shape == (sizes[n + 1], sizes[n])
            and np.isfinite(layer.weights).all()
            and np.isfinite(layer.bias).all()
            for n, layer in enumerate(layers)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidOption(
            f"{path} holds no learned gap controller ({error}); make one with "
            "superalign gap train --out FILE, or leave gap.policy out"
        ) from error
    if not fits:
        raise InvalidOption(
            f"{path} holds a policy for other observations or actions; train it again with "
            "superalign gap train --out FILE"
        )
    return Network(layers)


def write_policy(network: Network, facts: dict[str, Any], path: Path) -> None:
    """Write a network, rounded to six digits, and the facts of its training.

    Args:
        network: what `Learned` shall read.
        facts: plain values: seed, settings, results.
        path: a file, which appears whole.
    """
    lines = ",\n  ".join(
        json.dumps({"weights": _rounded(w), "bias": _rounded(b)}) for w, b in network.layers
    )
    head = json.dumps({"format": FORMAT, **facts}, indent=1)[:-2]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(f'{head},\n "layers": [\n  {lines}\n ]\n}}\n', encoding="utf-8")
    partial.replace(path)


def _rounded(values: _Weights) -> Any:
    return np.round(values, 6).tolist()
