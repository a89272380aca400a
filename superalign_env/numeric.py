"""A seat as numbers: features of what it reads, an index into its menu of what it says.

For learners that know no text (Stable-Baselines3, tabular methods, bandits).
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from superalign_env.errors import InvalidOption, ProtocolError
from superalign_env.features import LIMIT, Features, Vector, read_features
from superalign_env.game import OnInvalid
from superalign_env.one_seat import OneSeatEnv
from superalign_env.protocols import Scenario
from superalign_env.types import Seat, View


class NumericEnv(gymnasium.Env[Vector, np.int64]):
    """A one-seat environment with a `Box` of features and a `Discrete` choice.

    Action ``i`` says entry ``i`` of the view's menu; beyond the menu's end it starts again
    at the first entry (``i`` modulo the menu's length), so every action is valid and a
    uniform policy is (nearly) uniform over the menu. Entries past `choices` cannot be
    said. ``info["action_mask"]`` and `action_masks` are 1 for the indices that name an
    entry directly; the latter is what sb3-contrib's MaskablePPO asks for.

    Args:
        env: the seat to play.
        features: what is seen; `HashedText()` when absent.
        choices: number of actions.

    Raises:
        InvalidOption: fewer than two choices.
    """

    metadata = OneSeatEnv.metadata

    def __init__(
        self, env: OneSeatEnv, *, features: Features | None = None, choices: int = 32
    ) -> None:
        if choices < 2:
            raise InvalidOption(f"choices must be at least 2, not {choices}")
        self.seat_env = env
        self.render_mode = env.render_mode
        self.features = read_features(features)
        self.choices = choices
        self.observation_space = spaces.Box(
            -LIMIT, LIMIT, (self.features.size,), dtype=np.float32
        )
        self.action_space = spaces.Discrete(choices)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Begin the next case; arguments as `OneSeatEnv.reset`.

        Raises:
            ProtocolError: the seat has no menu to choose from.
        """
        super().reset(seed=seed)
        _, info = self.seat_env.reset(seed=seed, options=options)
        return self._observe(info), self._info(info)

    def step(self, action: np.int64) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Say one entry of the menu and play until the seat is asked again.

        Raises:
            ProtocolError: the seat has no menu to choose from.
        """
        said = entry(self.seat_env.game.view(self.seat_env.seat), int(action))
        _, reward, terminated, truncated, info = self.seat_env.step(said)
        return self._observe(info), reward, terminated, truncated, self._info(info)

    def render(self) -> str | None:
        """Return or print the transcript so far; see `OneSeatEnv.render`."""
        return self.seat_env.render()

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which indices [choices] name an entry of the menu directly."""
        group = self.seat_env.game.group
        seat = self.seat_env.seat
        size = len(self.seat_env.game.view(seat).menu) if seat in group else 0
        return np.arange(self.choices) < size

    def _observe(self, info: Mapping[str, Any]) -> Vector:
        view = info.get("view")
        if view is None:
            return np.zeros(self.features.size, np.float32)
        entry(view, 0)
        return self.features(view)

    def _info(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Leave views out: vector environments copy every info deeply at every step."""
        return {
            "asked": info["asked"],
            "parts": info["parts"],
            "action_mask": self.action_masks().astype(np.int8),
        }


def numeric_env(
    scenario: Scenario[Any],
    seat: Seat,
    *,
    others: Mapping[Seat, Any] | None = None,
    features: Features | None = None,
    choices: int = 32,
    seed: int = 0,
    on_invalid: OnInvalid = "penalise",
) -> NumericEnv:
    """Return one seat of a scenario as a numeric Gymnasium environment.

    Args:
        scenario: the rules; their views of the seat must have menus.
        seat: who learns.
        others: agents of all other seats.
        features: what is seen; `HashedText()` when absent.
        choices: number of actions, best the length of the longest menu.
        seed: the run's seed until `reset` names another.
        on_invalid: see `superalign_env.aec.RawAECEnv`.
    """
    env = OneSeatEnv(scenario, seat=seat, others=others, seed=seed, on_invalid=on_invalid)
    return NumericEnv(env, features=features, choices=choices)


def entry(view: View, action: int) -> str:
    """Return what an action says: the menu's entry, counted round.

    Raises:
        ProtocolError: the view has no menu.
    """
    if not view.menu:
        raise ProtocolError(
            f"{view.seat} has no menu at turn {view.turn}, so there is nothing to choose by "
            "number; play a seat whose views have one, or use the text environment"
        )
    return view.menu[action % len(view.menu)]
