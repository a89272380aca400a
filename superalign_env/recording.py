"""How a live game becomes a record: names, hashes, and what the rules were."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from superalign_env.canonical import content_hash
from superalign_env.protocols import Scenario
from superalign_env.types import EpisodeKey, Grade, Reward, Seat, Utterance, View

SCHEMA_VERSION = 2
"""`Episode.schema_version` of what is played now. Version 1 hashed the JSON of every view."""

_ROOM = 4096
"""Bytes that most views fit in."""

_EarnedT = TypeVar("_EarnedT", Reward, Grade)

_pack_into = msgspec.msgpack.Encoder().encode_into


def episode_id(key: EpisodeKey) -> str:
    """Return the name of an episode, unique within a run."""
    run = key.run & 0xFFFFFFFF
    return f"g{key.generation}-r{key.round}-c{key.case}-m{key.member}-{run:08x}"


def view_hash(view: View, version: int = SCHEMA_VERSION) -> str:
    """Return the content hash of what a seat was shown.

    Where a view holds words and whole numbers only, the hash is over its MessagePack:
    fields have an order, so nothing must be sorted.

    Args:
        view: what was shown.
        version: `Episode.schema_version` of the record that the hash is for.
    """
    return content_hash(view) if version == 1 else _hash(view, bytearray())


def with_hashes(
    utterances: Sequence[Utterance], views: Sequence[View]
) -> tuple[Utterance, ...]:
    """Return utterances that name the views which they answer."""
    room = bytearray(_ROOM)
    return tuple(
        [
            Utterance(u.seat, u.turn, u.group, u.text, u.reply, u.repair, _hash(view, room))
            for u, view in zip(utterances, views, strict=True)
        ]
    )


def _hash(view: View, room: bytearray) -> str:
    """Return the content hash of a view, which is packed into ``room`` on the way."""
    if view.schema or view.tools:
        return content_hash(view)
    _pack_into(view, room)
    return blake2b(room, digest_size=16).hexdigest()


def dated(
    earned: tuple[_EarnedT, ...], latest: Callable[[Seat], int]
) -> tuple[_EarnedT, ...]:
    """Return what was earned, each with its turn; the very same where all have one.

    Args:
        earned: rewards or grades; a negative turn stands for the seat's latest.
        latest: returns the turn at which a seat spoke last.
    """
    for one in earned:
        if one.turn < 0:
            break
    else:  # `all` and a generator would take thrice as long
        return earned
    return tuple(
        [one if one.turn >= 0 else replace(one, turn=latest(one.seat)) for one in earned]
    )


def rules_of(scenario: Scenario[Any]) -> dict[str, Any]:
    """Return the fields of an `Episode` that say which rules it was played by."""
    return {
        "schema_version": SCHEMA_VERSION,
        "scenario": scenario.id,
        "options": scenario.options,
        "renderer": scenario.renderer_id,
        "source": scenario.source.id,
        "weights": {role: dict(parts) for role, parts in scenario.weights.items()},
    }
