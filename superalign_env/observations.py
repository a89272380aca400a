"""What PettingZoo and Gymnasium see of a View."""

from collections.abc import Iterable
from typing import Any

from gymnasium import spaces
from msgspec.structs import asdict

from superalign_env.plain_text import terminal
from superalign_env.protocols import Scenario
from superalign_env.spaces import UtteranceSpace
from superalign_env.types import Ending, Utterance, View

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


def transcript(utterances: Iterable[Utterance]) -> str:
    """Return what was said, a line for each utterance, escaped for terminals."""
    return "\n".join([f"{said.seat}: {terminal(said.text)}" for said in utterances])


def unasked() -> Observation:
    """Return what a seat observes when it is not its turn, and after the end."""
    return {"text": "", "asked": 0}


def info_of(view: View, parts: dict[str, float]) -> dict[str, Any]:
    """Return the info of an asked seat: the view for agents, chat messages for models."""
    return {
        "asked": 1,
        "parts": parts,
        "view": view,
        "messages": [*map(asdict, view.messages)],
    }


def idle_info(parts: dict[str, float], ending: Ending | None = None) -> dict[str, Any]:
    """Return the info of a seat that is not asked, or whose episode is over."""
    if ending is None:
        return {"asked": 0, "parts": parts}
    return {"asked": 0, "parts": parts, "ending": ending.kind}
