"""Parallel environment over a Game: a whole group acts at once."""

from collections.abc import Mapping
from typing import Any

from gymnasium.spaces import Space
from pettingzoo import ParallelEnv

from superalign_env.errors import ProtocolError
from superalign_env.faces import (
    CaseSequence,
    Observation,
    action_space,
    idle_info,
    info_of,
    observation_space,
    rendered,
    require_reset,
    unasked,
)
from superalign_env.game import Game, OnInvalid
from superalign_env.protocols import Scenario
from superalign_env.replies import read_action
from superalign_env.rewards import earnings
from superalign_env.spaces import UtteranceSpace
from superalign_env.types import Seat

Infos = dict[Seat, dict[str, Any]]


class SimultaneousEnv(ParallelEnv[Seat, Observation, str]):
    """Parallel environment in which ``infos[seat]["asked"]`` says which seats act.

    An action of a seat that is not asked is ignored; a missing one of a seat that is
    asked is an error.

    Args:
        scenario: the rules.
        seed: the run's seed until `reset` names another.
        on_invalid: see `superalign_env.aec.RawAECEnv`.
        render_mode: ``ansi`` or ``human``.
    """

    metadata = {"render_modes": ["ansi", "human"]}  # noqa: RUF012 - PettingZoo's declaration

    def __init__(
        self,
        scenario: Scenario[Any],
        *,
        seed: int = 0,
        on_invalid: OnInvalid = "raise",
        render_mode: str | None = None,
    ) -> None:
        self.metadata = {**self.metadata, "name": scenario.id.replace("-", "_")}
        self.scenario = scenario
        self.render_mode = render_mode
        self.possible_agents = list(scenario.seats)
        self.agents: list[Seat] = []
        self._cases = CaseSequence(scenario, seed=seed, on_invalid=on_invalid)
        self.observation_spaces = {s: observation_space() for s in scenario.seats}
        self._action_spaces = {s: action_space(scenario) for s in scenario.seats}
        self.action_spaces: dict[Seat, Space[str]] = dict(self._action_spaces)

    def observation_space(self, agent: Seat) -> Space[Observation]:
        """Return the observation space of a seat, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: Seat) -> UtteranceSpace:
        """Return the action space of a seat, always the same object."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Seat, Observation], Infos]:
        """Start case 0 of a seed, or the next case; options may name case and member."""
        self.game: Game = self._cases.next(seed, options)
        self.agents = self.possible_agents[:]
        parts: dict[Seat, dict[str, float]] = {seat: {} for seat in self.agents}
        return self._observe(), self._infos(parts)

    def step(
        self, actions: dict[Seat, str]
    ) -> tuple[
        dict[Seat, Observation],
        dict[Seat, float],
        dict[Seat, bool],
        dict[Seat, bool],
        Infos,
    ]:
        """Apply the texts of the seats that are asked.

        Raises:
            ProtocolError: a seat that is asked says nothing.
            InvalidUtterance: an action is no text, or one that no rule may see.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        if not isinstance(actions, Mapping):
            raise ProtocolError(f"actions are a mapping from seat to text, not {actions!r}")
        game = self.game
        missing = [seat for seat in game.group if seat not in actions]
        if missing:
            raise ProtocolError(
                f"{', '.join(missing)} must speak now (infos[seat]['asked'] is 1) but has no action"
            )
        strict = self._cases.on_invalid == "raise"
        replies = [read_action(actions[seat], strict=strict) for seat in game.group]
        rewards = game.step(replies).rewards
        earned, parts = earnings(rewards, self.scenario.weights, self.agents)
        over = game.ending is not None and game.ending.kind == "terminated"
        cut = game.ending is not None and not over
        result = (
            self._observe(),
            earned,
            dict.fromkeys(self.agents, over),
            dict.fromkeys(self.agents, cut),
            self._infos(parts),
        )
        if game.ending is not None:
            self.agents = []
        return result

    def render(self) -> str | None:
        """Return the transcript so far (``ansi``), or print it (``human``)."""
        require_reset(self)
        return rendered(self.game.utterances, self.render_mode)

    def close(self) -> None:
        """Do nothing: no resource is held."""

    def _observe(self) -> dict[Seat, Observation]:
        game = self.game
        return {
            seat: {"text": game.view(seat).text, "asked": 1}
            if seat in game.group
            else unasked()
            for seat in self.agents
        }

    def _infos(self, parts: dict[Seat, dict[str, float]]) -> Infos:
        game = self.game
        return {
            seat: (
                info_of(game.view(seat), parts[seat])
                if seat in game.group
                else idle_info(parts[seat], game.ending)
            )
            for seat in self.agents
        }
