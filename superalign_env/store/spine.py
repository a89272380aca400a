"""What of an episode lies in ``episodes.record``: all that no other column holds."""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from superalign_env.store.database import Row
from superalign_env.types import Ending, EpisodeKey, Role, Seat, Task, ToolCall, Usage

_encode = msgspec.json.Encoder().encode


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
    schema_version: int = 1
    fork_at: Seat = ""


class Rules(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all episodes of one scenario share."""

    options: dict[str, Any] = {}
    renderer: str = ""
    source: str = ""
    weights: dict[Role, dict[str, float]] = {}


class Sealed(msgspec.Struct, frozen=True):
    """The content of ``episodes.record``: JSON inside, kept to the byte for the hash."""

    hash: str
    rules: msgspec.Raw
    spine: msgspec.Raw


def seal(columns: Row, rules: bytes, spine: bytes, *tables: Sequence[Row]) -> str:
    """Return 32 hex digits over everything that belongs to an episode.

    Args:
        columns: of the table of episodes, without stage and record.
        rules: canonical JSON.
        spine: canonical JSON.
        *tables: rows of seats, utterances, rewards, grades and events.
    """
    digest = hashlib.blake2b(rules, digest_size=16)
    digest.update(spine)
    digest.update(_encode((columns, tables)))
    return digest.hexdigest()
