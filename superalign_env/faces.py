"""Shared parts of the environments over a Game: observations, infos, and the order of cases."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from gymnasium import spaces
from msgspec.structs import asdict

from superalign_env.errors import InvalidOption, ProtocolError, require_one_of
from superalign_env.game import Game, OnInvalid
from superalign_env.plain_text import marked, screen_width
from superalign_env.protocols import Scenario
from superalign_env.seeding import whole_number, whole_seed
from superalign_env.spaces import UtteranceSpace
from superalign_env.types import AgentSpec, Ending, EpisodeKey, Seat, Utterance, View

Observation = dict[str, Any]
"""``{"text": str, "asked": 0 or 1}``."""

MAX_TEXT = 1 << 20
"""Longest observed text, in characters."""


def observation_space() -> spaces.Dict:
    """Return a new observation space.

    The text key is not called ``observation``: PettingZoo's checker reads the dtype of
    a value of that name.
    """
    return spaces.Dict({"text": UtteranceSpace(MAX_TEXT), "asked": spaces.Discrete(2)})


def action_space(scenario: Scenario[Any]) -> UtteranceSpace:
    """Return a new action space."""
    return UtteranceSpace(scenario.max_utterance)


def rendered(utterances: Iterable[Utterance], mode: str | None) -> str | None:
    """Return the transcript, every line marked as whose it is; print it in mode ``human``."""
    width = screen_width() if mode == "human" else None
    turns = [marked(u.text, head=f"{u.seat}: ", width=width) for u in utterances]
    text = "\n".join(line for lines in turns for line in lines)
    if mode != "human":
        return text
    print(text)
    return None


def require_reset(env: object) -> None:
    """Raise unless an environment has begun an episode.

    Raises:
        ProtocolError: call `reset` first.
    """
    if not hasattr(env, "game"):
        raise ProtocolError("nothing was begun yet; call reset first")


def unasked() -> Observation:
    """Return the empty observation: of a seat that is not asked, and after the end."""
    return {"text": "", "asked": 0}


def info_of(view: View, parts: dict[str, float]) -> dict[str, Any]:
    """Return the info of an asked seat: the view for agents, chat messages for models."""
    return {
        "asked": 1,
        "parts": parts.copy(),
        "view": view,
        "messages": [*map(asdict, view.messages)],
    }


def idle_info(parts: dict[str, float], ending: Ending | None = None) -> dict[str, Any]:
    """Return the info of a seat that is not asked, or whose episode is over."""
    if ending is None:
        return {"asked": 0, "parts": parts.copy()}
    return {"asked": 0, "parts": parts.copy(), "ending": ending.kind}


class CaseSequence:
    """Games of an environment in order: case 0, case 1 and so on.

    Args:
        scenario: the rules.
        seed: the run's seed until a reset names another.
        on_invalid: see `Game`.
        seats: who plays, for the record.
    """

    def __init__(
        self,
        scenario: Scenario[Any],
        *,
        seed: int = 0,
        on_invalid: OnInvalid = "raise",
        seats: Mapping[Seat, AgentSpec] | None = None,
    ) -> None:
        require_one_of("on_invalid", on_invalid, get_args(OnInvalid))
        self.scenario = scenario
        self.seed = whole_seed(seed)
        self.on_invalid: OnInvalid = on_invalid
        self.seats = seats or {}
        self._next = 0

    def next(
        self, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> Game:
        """Return the next game.

        Args:
            seed: starts again at case 0 of another run.
            options: may name ``case`` and ``member``; others are ignored.
        """
        if seed is not None:
            self.seed, self._next = whole_seed(seed), 0
        case, member = self._next, 0
        if options is not None and not isinstance(options, Mapping):
            raise InvalidOption(f"reset options are a mapping, not {options!r}")
        if options:
            case = whole_number("reset option 'case'", options.get("case", case))
            member = whole_number("reset option 'member'", options.get("member", 0))
        self._next = case + 1
        key = EpisodeKey(run=self.seed, case=case, member=member)
        return Game(self.scenario, key, seats=self.seats, on_invalid=self.on_invalid)
