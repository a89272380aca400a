"""What of an episode lies in ``episodes.record``: all that no other column holds."""

from typing import Any, Literal

import msgspec

from superalign_env.types import Ending, EpisodeKey, Role, Seat, Task, ToolCall, Usage


class Spoken(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of an utterance has no column."""

    group: int
    repair: str = ""
    view: str = ""
    replied: bool = True
    raw: str | None = None
    """What the agent wrote, where the rules saw another text."""
    thought: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "length", "error", ""] = ""
    usage: Usage | None = None
    error: str = ""


class Spine(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of an episode has no table, beside what has a column."""

    task: Task
    key: EpisodeKey
    spoken: tuple[Spoken, ...]
    ending: Ending
    events: int = 0
    """How many events belong to the episode; later ones are about it."""
    options: dict[str, Any] = {}
    renderer: str = ""
    source: str = ""
    weights: dict[Role, dict[str, float]] = {}
    schema_version: int = 1
    fork_at: Seat = ""


class Sealed(msgspec.Struct, frozen=True):
    """The content of ``episodes.record``."""

    hash: str
    spine: msgspec.Raw
