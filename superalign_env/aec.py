"""AEC environment over a Game: seats of a group act in turn, unaware of each other."""

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from gymnasium.spaces import Space
from pettingzoo import AECEnv
from pettingzoo.utils.env_logger import EnvLogger
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

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
from superalign_env.rewards import seat_weights
from superalign_env.spaces import UtteranceSpace
from superalign_env.types import Reward, Seat


class RawAECEnv(AECEnv[Seat, Observation, str]):
    """AEC environment without the order checks of `env()`.

    Args:
        scenario: the rules.
        seed: the run's seed until `reset` names another.
        on_invalid: ``raise`` an `InvalidUtterance`, or ``penalise``: repair the text,
            record an event, pay a ``format`` penalty.
        render_mode: ``ansi`` or ``human``: the transcript, escaped.
    """

    metadata = {  # noqa: RUF012 - PettingZoo's declaration
        "render_modes": ["ansi", "human"],
        "is_parallelizable": True,
    }

    def __init__(
        self,
        scenario: Scenario[Any],
        *,
        seed: int = 0,
        on_invalid: OnInvalid = "raise",
        render_mode: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PettingZoo leaves it bare
        self.metadata = {**self.metadata, "name": scenario.id.replace("-", "_")}
        self.scenario = scenario
        self.render_mode = render_mode
        self.possible_agents = list(scenario.seats)
        self._cases = CaseSequence(scenario, seed=seed, on_invalid=on_invalid)
        self._strict = on_invalid == "raise"
        self.observation_spaces = {s: observation_space() for s in scenario.seats}
        self._action_spaces = {s: action_space(scenario) for s in scenario.seats}
        self.action_spaces: dict[Seat, Space[str]] = dict(self._action_spaces)
        self._silence = dict.fromkeys(scenario.seats, 0.0)
        self._weights = seat_weights(scenario.seats, scenario.weights)

    def observation_space(self, agent: Seat) -> Space[Observation]:
        """Return the observation space of a seat, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: Seat) -> UtteranceSpace:
        """Return the action space of a seat, always the same object."""
        return self._action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start case 0 of a seed, or the next case; options may name case and member."""
        self.game: Game = self._cases.next(seed, options)
        # For the order check of `agent_iter`.
        self.moved = True
        seats = self.possible_agents
        self.agents = seats.copy()
        self._cumulative_rewards = self._silence.copy()
        self._parts: dict[Seat, dict[str, float]] = {seat: {} for seat in seats}
        self._latest: tuple[Reward, ...] = ()
        game = self.game
        self.agent_selection = game.group[0] if game.ending is None else seats[0]

    # What follows from the game is told when it is asked for, never kept beside it.

    @property
    def rewards(self) -> dict[Seat, float]:  # type: ignore[override]  # read only
        """Rewards of the latest step, of all seats that are left."""
        earned = dict.fromkeys(self.agents, 0.0)
        for reward in self._latest:
            weight = self._weights[reward.seat].get(reward.part)
            if weight is not None:
                earned[reward.seat] += weight * reward.value
        return earned

    @property
    def terminations(self) -> dict[Seat, bool]:  # type: ignore[override]  # read only
        """Whether the rules ended the episode: the same for every seat that is left."""
        ending = self.game.ending
        return dict.fromkeys(
            self.agents, ending is not None and ending.kind == "terminated"
        )

    @property
    def truncations(self) -> dict[Seat, bool]:  # type: ignore[override]  # read only
        """Whether a limit or a failure ended it: the same for every seat that is left."""
        ending = self.game.ending
        return dict.fromkeys(
            self.agents, ending is not None and ending.kind != "terminated"
        )

    @property
    def infos(self) -> dict[Seat, dict[str, Any]]:  # type: ignore[override]  # read only
        """Infos of all seats that are left."""
        return {seat: self._info(seat) for seat in self.agents}

    def observe(self, agent: Seat) -> Observation:
        """Return the observation of a seat: its view when it is asked, else an empty text."""
        game = self.game
        if agent in game.group:
            return {"text": game.view(agent).text, "asked": 1}
        return unasked()

    def last(
        self, observe: bool = True
    ) -> tuple[Observation | None, float, bool, bool, dict[str, Any]]:
        """Return observation, reward since its last turn, ends and info of the seat."""
        try:
            seat = self.agent_selection
        except AttributeError:
            raise AttributeError("last cannot be called before reset") from None
        ending = self.game.ending
        if ending is None:
            view = self.game.asked[seat]
            return (
                {"text": view.text, "asked": 1} if observe else None,
                self._cumulative_rewards[seat],
                False,
                False,
                info_of(view, self._parts[seat]),
            )
        terminated = ending.kind == "terminated"
        return (
            unasked() if observe else None,
            self._cumulative_rewards[seat],
            terminated,
            not terminated,
            idle_info(self._parts[seat], ending),
        )

    def step(self, action: str | None) -> None:
        """Apply the text of the selected seat; None for a seat whose episode is over.

        Raises:
            InvalidUtterance: the action is no text, or one that no rule may see.
        """
        try:
            game = self.game
        except AttributeError:
            raise AssertionError("reset() needs to be called before step.") from None
        self.moved = True
        if game.ending is not None:
            self._leave(action)
            return
        seat = self.agent_selection
        # No envelope of a whole reply is ASCII.
        if type(action) is str and action.isascii():
            step = game.say_ascii(action)
        else:
            step = game.say(read_action(action, strict=self._strict))
        self._cumulative_rewards[seat] = 0.0
        # A fresh dict: what a seat was told about its last turn stays what it was.
        self._parts[seat] = {}
        if step is None:
            self._latest = ()
            self.agent_selection = game.group[game.group.index(seat) + 1]
            return
        self._latest = rewards = step.rewards
        if rewards:
            self._pay(rewards)
        self.agent_selection = game.group[0] if game.ending is None else self.agents[0]

    def render(self) -> str | None:
        """Return the transcript so far (``ansi``), or print it (``human``)."""
        require_reset(self)
        return rendered(self.game.utterances, self.render_mode)

    def close(self) -> None:
        """Do nothing: no resource is held."""

    def _pay(self, rewards: tuple[Reward, ...]) -> None:
        total, paid_parts, weights = self._cumulative_rewards, self._parts, self._weights
        for reward in rewards:
            seat = reward.seat
            part = reward.part
            weight = weights[seat].get(part)
            if weight is not None:
                value = weight * reward.value
                total[seat] += value
                parts = paid_parts[seat]
                if part in parts:
                    value += parts[part]
                parts[part] = value

    def _info(self, seat: Seat) -> dict[str, Any]:
        game, parts = self.game, self._parts[seat]
        if game.ending is None and seat == self.agent_selection:
            return info_of(game.asked[seat], parts)
        return idle_info(parts, game.ending)

    def _leave(self, action: str | None) -> None:
        """Remove one seat after the end: PettingZoo's dead step."""
        seat, agents = self.agent_selection, self.agents
        if not agents:
            EnvLogger.warn_step_after_terminated_truncated()
            return
        if action is not None:
            raise ValueError(
                "the episode is over; the only valid action is None until reset"
            )
        agents.remove(seat)
        del self._cumulative_rewards[seat]
        self._latest = ()
        if agents:
            self.agent_selection = agents[0]


class OrderedEnv(OrderEnforcingWrapper[Seat, Observation, str]):
    """AEC environment with order checks, at a fifth of the cost of PettingZoo's wrapper.

    PettingZoo's wrapper reaches every attribute through `__getattr__` and passes every call
    on; here what every turn needs is the environment's own.
    """

    if TYPE_CHECKING:

        def step(self, action: str | None) -> None:
            """Apply the text of the selected seat; None for one whose episode is over."""

    def __init__(self, env: RawAECEnv) -> None:
        self.raw = env
        super().__init__(env)
        vars(self).update(last=env.last, step=env.step)
        self.possible_agents = env.possible_agents
        self.metadata = env.metadata
        self.render_mode = env.render_mode

    @property
    def _has_updated(self) -> bool:
        """Whether something happened since `agent_iter` named a seat."""
        return self.raw.moved

    @_has_updated.setter
    def _has_updated(self, moved: bool) -> None:
        self.raw.moved = moved

    @property
    def game(self) -> Game:
        """The live game, for recording."""
        return self.raw.game

    @property
    def scenario(self) -> Scenario[Any]:
        """The rules."""
        return self.raw.scenario

    def __getattr__(self, name: str) -> Any:
        """Raise with a hint where an attribute is read before `reset`."""
        if name == "game":
            raise AttributeError("game cannot be accessed before reset")
        return super().__getattr__(name)


# Before the first reset the raw environment has none of these; the wrapper's
# `__getattr__` then says so.
for _name in (
    "agents",
    "agent_selection",
    "rewards",
    "terminations",
    "truncations",
    "infos",
    "_cumulative_rewards",
):
    setattr(OrderedEnv, _name, property(attrgetter(f"raw.{_name}")))
