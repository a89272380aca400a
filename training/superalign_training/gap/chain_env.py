"""A chain as a Gymnasium environment: a step is a generation, an action is its gap."""

from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from superalign_env.errors import InvalidOption
from superalign_training.gap.history import climb, standing
from superalign_training.gap.sight import Sight

Numbers = NDArray[np.float32]

SHARES = 5
"""Actions: the least gap, a quarter, half, three quarters and all of what is left."""

SIGHTS = 2
"""How many of the newest generations are shown."""

_PLACES = 7
_PER_SIGHT = 8
SIZE = _PLACES + SIGHTS * _PER_SIGHT
"""Numbers in an observation."""


class ChainModel(Protocol):
    """A chain that can be raised generation by generation: the real one, or a model of it."""

    @property
    def levels(self) -> int:
        """Number of levels on the ladder."""
        ...

    @property
    def generations(self) -> int:
        """Number of generations."""
        ...

    def reset(self, seed: int) -> None:
        """Begin another chain; everything random in it comes from the seed."""
        ...

    def play(self, level: int) -> Sight:
        """Raise the next generation from a level, and say what can be seen of it."""
        ...

    def worth(self) -> float:
        """Return what the chain is worth now, from 0 to 1.

        Of a real chain that is the newest accepted generation's agreement with people, who
        may be wrong; a model may know the utility that it simulates.
        """
        ...


class ChainEnv(gymnasium.Env[Numbers, np.int64]):
    """Choose the gaps of a chain.

    What is observed is what every `GapController` may see, as `observe` writes it. The
    reward is by how much the chain is worth more than before, minus the cost of a
    generation that was rolled back; so the rewards of a chain add up to what it is worth
    in the end, minus what it was worth before.

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
        self.sights: list[Sight] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Numbers, dict[str, Any]]:
        """Begin another chain."""
        super().reset(seed=seed)
        self.model.reset(int(self.np_random.integers(2**53)))
        self.sights = []
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Numbers, float, bool, bool, dict[str, Any]]:
        """Raise one generation."""
        levels = self.model.levels
        level = level_of(int(action), self.sights, levels=levels)
        before = self.model.worth()
        sight = self.model.play(level)
        self.sights.append(sight)
        reward = self.model.worth() - before
        if not sight.accepted:
            reward -= self.rollback_cost
        over = len(self.sights) >= self.model.generations
        return self._observation(), reward, over, False, {"level": level, "sight": sight}

    def _observation(self) -> Numbers:
        return observe(
            self.sights, levels=self.model.levels, generations=self.model.generations
        )


def level_of(action: int, sights: Sequence[Sight], *, levels: int) -> int:
    """Return the level to which an action leads.

    Args:
        action: 0 is one level, `SHARES` - 1 is the top, between them are equal shares of
            what is left, of one level at least.
        sights: of all finished generations.
        levels: number of levels on the ladder.
    """
    at = standing(sights)
    room = levels - 1 - at.level
    return climb(at.level, max(1, round(room * action / (SHARES - 1))), levels=levels)


def observe(sights: Sequence[Sight], *, levels: int, generations: int) -> Numbers:
    """Return what may be seen of a chain as `SIZE` numbers from 0 to 1.

    Seven numbers say where the chain stands (place on the ladder, generations left, sizes,
    rollbacks, the gap that was just refused, whether anything was accepted yet), and eight
    each tell of the newest generations, all 0 where there are none.
    """
    at = standing(sights)
    top = max(levels - 1, 1)
    numbers = [
        (at.level + 1) / levels,
        max(generations - len(sights), 0) / max(generations, 1),
        1 / levels,
        1 / max(generations, 1),
        1 - 0.5**at.failures,
        max(at.tried, 0) / levels,
        float(at.accepted > 0),
    ]
    newest = [*reversed(sights)][:SIGHTS]
    for sight in newest:
        known = sight.human_agreement is not None
        numbers += [
            1.0,
            float(sight.accepted),
            sight.level / top,
            sight.disagreement,
            sight.misfit,
            sight.confidence,
            sight.human_agreement if sight.human_agreement is not None else 0.0,
            sight.human_labels / (sight.human_labels + 20) if known else 0.0,
        ]
    numbers += [0.0] * (SIZE - len(numbers))
    return np.clip(np.asarray(numbers, dtype=np.float32), 0.0, 1.0)
