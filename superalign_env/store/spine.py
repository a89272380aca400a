"""What of an episode lies in ``episodes.record``: all that no other column holds."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from xxhash import xxh3_128

from superalign_env.store.database import Row
from superalign_env.types import Ending, EpisodeKey, Role, Seat, Task, ToolCall, Usage

FORMAT = 3
"""Of what is written now. Earlier ones kept more of an episode in tables of its own."""

_pack = msgspec.msgpack.Encoder().encode


class EpisodeRow(NamedTuple):
    """The row of one episode, less its stage. These are names of columns, in order."""

    id: str
    scenario: str
    version: str
    task: str
    split: str
    case: int
    member: int
    parent: str
    seed: int
    arm: str
    ending: str
    seating: str
    """Content hash of who sat where; empty in the first format."""
    rules: str | None
    """Content hash of the rules; None in the first format."""
    record: str
    """`Sealed`, as JSON."""
    paid: str
    """JSON: a list of (turn, seat, part, value)."""
    graded: str
    """JSON: a list of (turn, seat, axis, name, value)."""
    said: str
    """JSON: a list of `superalign_env.store.lines.Line`."""
    happened: str
    """JSON: a list of (turn, seat, kind, evidence); empty in earlier formats."""
    numbers: bytes
    """Token ids and log-probs of all lines, one after the other."""


class EpisodeRows(NamedTuple):
    """Everything that lies in the tables about one episode, less stages and agents."""

    episode: EpisodeRow
    seats: Sequence[Row]
    """(seat, role, agent), in order."""
    rules: str
    """JSON of the rules; empty in the first format."""
    noticed: Sequence[Row] = ()
    """(episode, turn, seat, kind, evidence) of notices about it, in order; in earlier
    formats its own events come first."""


class Spoken(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of an utterance had no column in the first format."""

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
    ending: Ending
    events: int = 0
    """In earlier formats only: how many of the notices are its own events."""
    schema_version: int = 1
    fork_at: Seat = ""
    spoken: tuple[Spoken, ...] = ()
    """In the first format only."""


class Rules(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all episodes of one scenario share."""

    options: dict[str, Any] = {}
    renderer: str = ""
    source: str = ""
    weights: dict[Role, dict[str, float]] = {}


class Sealed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of ``episodes.record``: JSON inside, kept to the byte for the hash."""

    hash: str
    spine: msgspec.Raw
    format: int = 1
    rules: msgspec.Raw = msgspec.Raw()
    """In the first format only."""


def seal(head: Row, *parts: bytes) -> str:
    """Return 32 hex digits over everything that belongs to an episode.

    XXH3, not a cryptographic hash: whoever alters a record on purpose can seal it anew.

    Args:
        head: its columns up to the hash of the rules.
        *parts: the spine, the columns of JSON, the numbers.
    """
    digest = xxh3_128(_pack(head))
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
