"""Environments with numeric spaces: features for views, menu indices for texts.

For learners that know no text (Stable-Baselines3, RLlib, tabular methods, bandits): one
seat as a Gymnasium environment, or several at once as a PettingZoo ParallelEnv.
"""

from collections.abc import Mapping
from operator import index
from typing import Any, SupportsIndex

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from superalign_env.asking import TIMEOUT, ask, require_timeout
from superalign_env.errors import InvalidOption, ProtocolError, hint, nearest
from superalign_env.faces import CaseSequence
from superalign_env.features import LIMIT, Features, Vector, read_features
from superalign_env.game import Game, OnInvalid
from superalign_env.one_seat import MOST_SKIPPED, OneSeatEnv
from superalign_env.protocols import Scenario
from superalign_env.rewards import earnings
from superalign_env.seating import as_agent
from superalign_env.seeding import whole_number
from superalign_env.types import Reply, Reward, Seat, View


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
        choices = whole_number("choices", choices, least=2)
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
        """Play one entry of the menu, and go on until the seat is asked again.

        Raises:
            ProtocolError: the seat has no menu to choose from.
        """
        text = entry(self.seat_env.game.view(self.seat_env.seat), action)
        _, reward, terminated, truncated, info = self.seat_env.step(text)
        return self._observe(info), reward, terminated, truncated, self._info(info)

    def render(self) -> str | None:
        """Return or print the transcript so far; see `OneSeatEnv.render`."""
        return self.seat_env.render()

    def action_masks(self) -> NDArray[np.bool_]:
        """Return which indices [choices] name an entry of the menu directly."""
        return _mask(self.seat_env.game, self.seat_env.seat, self.choices)

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
    timeout: float | None = TIMEOUT,
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
        timeout: seconds that another seat's agent may take; None waits for ever.
    """
    env = OneSeatEnv(
        scenario,
        seat=seat,
        others=others,
        seed=seed,
        on_invalid=on_invalid,
        timeout=timeout,
    )
    return NumericEnv(env, features=features, choices=choices)


Numbers = dict[Seat, Vector]
Infos = dict[Seat, dict[str, Any]]


class NumericParallelEnv(ParallelEnv[Seat, Vector, np.int64]):
    """Several seats at once, each with a `Box` of features and a `Discrete` choice.

    Actions mean what they mean in `NumericEnv`. A step takes what every seat says that is
    asked (``infos[seat]["asked"]``), and plays on until one of these seats is asked again:
    the others are held by agents. Actions of seats that are not asked are ignored, and their
    observations are 0. All seats end together.

    Args:
        scenario: the rules; views of the seats that are played must have menus.
        others: agents of the other seats; none when absent.
        features: what is seen; `HashedText()` when absent.
        choices: number of actions, best the length of the longest menu.
        seed: the run's seed until `reset` names another.
        on_invalid: see `superalign_env.aec.RawAECEnv`.
        timeout: seconds that another seat's agent may take; None waits for ever.

    Raises:
        InvalidOption: fewer than two choices, a seat that does not exist, or none left.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - PettingZoo's declaration

    def __init__(
        self,
        scenario: Scenario[Any],
        *,
        others: Mapping[Seat, Any] | None = None,
        features: Features | None = None,
        choices: int = 32,
        seed: int = 0,
        on_invalid: OnInvalid = "penalise",
        timeout: float | None = TIMEOUT,
    ) -> None:
        choices = whole_number("choices", choices, least=2)
        for seat in others or {}:
            if seat not in scenario.seats:
                suggestion = hint(
                    nearest(seat, scenario.seats), scenario.seats, listed="its seats"
                )
                raise InvalidOption(f"{scenario.id} has no seat {seat!r}; {suggestion}")
        self.metadata = {**self.metadata, "name": scenario.id.replace("-", "_")}
        self.render_mode = None
        self.scenario = scenario
        self.others = {seat: as_agent(agent) for seat, agent in (others or {}).items()}
        require_timeout(timeout)
        self.timeout = timeout
        self.features = read_features(features)
        self.choices = choices
        self.possible_agents = [seat for seat in scenario.seats if seat not in self.others]
        if not self.possible_agents:
            raise InvalidOption("every seat is held by an agent; leave one out of others")
        self.agents: list[Seat] = []
        self._cases = CaseSequence(scenario, seed=seed, on_invalid=on_invalid)
        shape = (self.features.size,)
        self.observation_spaces = {
            seat: spaces.Box(-LIMIT, LIMIT, shape, dtype=np.float32)
            for seat in self.possible_agents
        }
        self.action_spaces = {
            seat: spaces.Discrete(choices) for seat in self.possible_agents
        }

    def observation_space(self, agent: Seat) -> spaces.Space[Vector]:
        """Return the observation space of a seat, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: Seat) -> spaces.Space[np.int64]:
        """Return the action space of a seat, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Numbers, Infos]:
        """Start case 0 of a seed, or the next case in which one of these seats is asked.

        Raises:
            ProtocolError: one of them has no menu, or none is asked in many cases.
        """
        for _ in range(MOST_SKIPPED):
            self.game: Game = self._cases.next(seed, options)
            seed = options = None
            _, infos = self._play({})
            if not self.game.over:
                self.agents = self.possible_agents[:]
                return self._observe(), infos
        raise ProtocolError(
            f"none of {', '.join(self.possible_agents)} was asked in {MOST_SKIPPED} cases; "
            "look at the other agents, or at the scenario's options"
        )

    def step(
        self, actions: dict[Seat, np.int64]
    ) -> tuple[Numbers, dict[Seat, float], dict[Seat, bool], dict[Seat, bool], Infos]:
        """Play one entry of the menu for every seat that is asked.

        Raises:
            ProtocolError: a seat that is asked has no action, or no menu.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        to_answer = [seat for seat in self.game.group if seat in self.agents]
        missing = [seat for seat in to_answer if seat not in actions]
        if missing:
            raise ProtocolError(
                f"{', '.join(missing)} must speak now (infos[seat]['asked'] is 1) but has no "
                "action"
            )
        texts = {seat: entry(self.game.view(seat), actions[seat]) for seat in to_answer}
        earned, infos = self._play(texts)
        ending = self.game.ending
        over = ending is not None and ending.kind == "terminated"
        cut = ending is not None and not over
        seats, self.agents = self.agents, [] if ending else self.agents
        ended, stopped = dict.fromkeys(seats, over), dict.fromkeys(seats, cut)
        return self._observe(), earned, ended, stopped, infos

    def close(self) -> None:
        """Do nothing: no resource is held."""

    def _play(self, texts: dict[Seat, str]) -> tuple[dict[Seat, float], Infos]:
        """Advance until one of these seats is asked (again).

        Returns:
            Their pay since, and their infos.
        """
        game = self.game
        mine, rewards = set(self.possible_agents), list[Reward]()
        while game.ending is None and (texts or not set(game.group) & mine):
            replies = [
                Reply(texts[seat])
                if seat in texts
                else ask(self.others[seat], [game.view(seat)], timeout=self.timeout)[0]
                for seat in game.group
            ]
            texts = {}
            rewards += game.step(replies).rewards
        earned, parts = earnings(rewards, self.scenario.weights, self.possible_agents)
        infos = {
            seat: {
                "asked": int(seat in game.group),
                "parts": parts[seat],
                "action_mask": _mask(game, seat, self.choices).astype(np.int8),
            }
            for seat in earned
        }
        return earned, infos

    def _observe(self) -> Numbers:
        observations = dict.fromkeys(
            self.possible_agents, np.zeros(self.features.size, np.float32)
        )
        for seat in self.game.group:
            if seat in observations:
                view = self.game.view(seat)
                entry(view, 0)
                observations[seat] = self.features(view)
        return observations


def _mask(game: Game, seat: Seat, choices: int) -> NDArray[np.bool_]:
    """Return which indices [choices] name an entry of a seat's menu directly."""
    size = len(game.view(seat).menu) if seat in game.group else 0
    return np.arange(choices) < size


def entry(view: View, action: SupportsIndex) -> str:
    """Return the menu entry of an action, modulo the length of the menu.

    Raises:
        ProtocolError: the view has no menu, or the action is no whole number.
    """
    try:
        number = index(action)
    except TypeError as error:
        raise ProtocolError(f"an action is a number of the menu, not {action!r}") from error
    if not view.menu:
        raise ProtocolError(
            f"{view.seat} has no menu at turn {view.turn}, so there is nothing to choose by "
            "number; play a seat whose views have one, or use the text environment"
        )
    return view.menu[number % len(view.menu)]
