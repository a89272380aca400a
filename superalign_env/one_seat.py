"""Gymnasium environment of one seat of a Game; agents play the others."""

from collections.abc import Mapping
from typing import Any

import gymnasium

from superalign_env.asking import TIMEOUT, ask, require_timeout
from superalign_env.errors import InvalidOption, ProtocolError, hint, nearest
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
from superalign_env.seating import as_agent
from superalign_env.seeding import whole_seed
from superalign_env.types import Reply, Reward, Seat

MOST_SKIPPED = 1000
"""CaseSequence in a row without a turn of the seat, after which something must be wrong."""


class OneSeatEnv(gymnasium.Env[Observation, str]):
    """Gymnasium environment of one seat.

    Args:
        scenario: the rules.
        seat: who is played through this interface.
        others: agents of all other seats: agents, functions from text to text, references.
        seed: the run's seed until `reset` names another.
        on_invalid: see `superalign_env.aec.RawAECEnv`.
        render_mode: ``ansi`` or ``human``: the transcript of all seats, escaped.
        timeout: seconds that another seat's agent may take; None waits for ever.
    """

    metadata = {"render_modes": ["ansi", "human"]}  # noqa: RUF012 - Gymnasium's declaration

    def __init__(
        self,
        scenario: Scenario[Any],
        *,
        seat: Seat,
        others: Mapping[Seat, Any] | None = None,
        seed: int = 0,
        on_invalid: OnInvalid = "raise",
        render_mode: str | None = None,
        timeout: float | None = TIMEOUT,
    ) -> None:
        require_timeout(timeout)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise InvalidOption(
                f"render_mode={render_mode!r} is not known; it is ansi, human or None"
            )
        if seat not in scenario.seats:
            raise InvalidOption(
                f"{scenario.id} has no seat {seat!r}; "
                f"{hint(nearest(seat, scenario.seats), scenario.seats, listed='its seats')}"
            )
        others = dict(others or {})
        missing = [s for s in scenario.seats if s != seat and s not in others]
        if missing:
            raise InvalidOption(
                f"nobody sits in {', '.join(missing)}; pass others={{{missing[0]!r}: agent, …}}"
            )
        self.scenario = scenario
        self.seat = seat
        self.others = {name: as_agent(agent) for name, agent in others.items()}
        self.render_mode = render_mode
        self.timeout = timeout
        self.observation_space = observation_space()
        self.action_space = action_space(scenario)
        self._cases = CaseSequence(scenario, seed=seed, on_invalid=on_invalid)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Play until the seat is asked for the first time.

        CaseSequence in which the seat is never asked are skipped.

        Raises:
            ProtocolError: it is asked in none of many cases.
        """
        seed = None if seed is None else whole_seed(seed)
        # Gymnasium's own generator, which nothing here draws from, takes no negative seed.
        super().reset(seed=None if seed is None else abs(seed))
        for _ in range(MOST_SKIPPED):
            self.game: Game = self._cases.next(seed, options)
            seed = options = None
            _, parts = self._play_others(None)
            if not self.game.over:
                return self._observe(), self._info(parts)
        raise ProtocolError(
            f"{self.seat} was asked in none of {MOST_SKIPPED} cases; the last one ended with "
            f"{self.game.ending}. Look at the other agents, or at the scenario's options"
        )

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Play a text, and go on until the seat is asked again or the episode ends."""
        require_reset(self)
        reply = read_action(action, strict=self._cases.on_invalid == "raise")
        earned, parts = self._play_others(reply)
        ending = self.game.ending
        over = ending is not None and ending.kind == "terminated"
        cut = ending is not None and not over
        return self._observe(), earned, over, cut, self._info(parts)

    def render(self) -> str | None:
        """Return the transcript so far (``ansi``), or print it (``human``).

        Raises:
            ProtocolError: nothing was begun; call `reset` first.
        """
        require_reset(self)
        return rendered(self.game.utterances, self.render_mode)

    def _play_others(self, mine: Reply | None) -> tuple[float, dict[str, float]]:
        """Advance until the seat is asked (again); return its pay and its paid parts."""
        game = self.game
        rewards: list[Reward] = []
        while game.ending is None:
            if self.seat in game.group and mine is None:
                break
            replies: list[Reply] = []
            for seat in game.group:
                if seat == self.seat and mine is not None:
                    replies.append(mine)
                    mine = None
                else:
                    agent, views = self.others[seat], [game.view(seat)]
                    replies += ask(agent, views, timeout=self.timeout)
            rewards += game.step(replies).rewards
        earned, parts = earnings(rewards, self.scenario.weights, [self.seat])
        return earned[self.seat], parts[self.seat]

    def _observe(self) -> Observation:
        if self.seat in self.game.group:
            return {"text": self.game.view(self.seat).text, "asked": 1}
        return unasked()

    def _info(self, parts: dict[str, float]) -> dict[str, Any]:
        if self.seat in self.game.group:
            return info_of(self.game.view(self.seat), parts)
        return idle_info(parts)
