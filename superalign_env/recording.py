"""Recording of a live game: episode ids, view hashes, stamped facts, the rules played."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, SupportsFloat, TypeVar

import msgspec
from msgspec.structs import replace
from xxhash import xxh3_128_hexdigest

from superalign_env.canonical import content_hash
from superalign_env.errors import ProtocolError
from superalign_env.plain_values import ReadOnlyDict, read_only
from superalign_env.protocols import Scenario
from superalign_env.types import (
    EpisodeKey,
    Event,
    Grade,
    Judged,
    Query,
    Reward,
    Role,
    Seat,
    Step,
    ToolSpec,
    Utterance,
    View,
)

SCHEMA_VERSION = 1
"""`Episode.schema_version` of what is played now."""

_DatedT = TypeVar("_DatedT", Reward, Grade, Event, Judged, Query)

_pack = msgspec.msgpack.Encoder().encode


def episode_id(key: EpisodeKey) -> str:
    """Return the name of an episode, unique within a run."""
    run = key.run & 0xFFFFFFFF
    take = f"-t{key.take}" if key.take else ""
    return f"g{key.generation}-r{key.round}-c{key.case}-m{key.member}-{run:08x}{take}"


def view_hash(view: View) -> str:
    """Return 32 hex digits that tell whether two views are the same.

    Nobody signs with them, so they are XXH3 over the MessagePack, where a view holds words
    and whole numbers only: fields have an order, so nothing must be sorted.

    Args:
        view: what a seat was shown.

    Raises:
        ValueError: a schema or a tool has numbers that are not finite.
    """
    if view.schema or view.tools:
        return content_hash(view)
    return xxh3_128_hexdigest(_pack(view))


def with_hashes(
    utterances: Sequence[Utterance], views: Sequence[View]
) -> tuple[Utterance, ...]:
    """Return utterances that name the views which they answer: by `view_hash`."""
    return tuple(
        [
            Utterance(u.seat, u.turn, u.group, u.text, u.reply, u.repair, view_hash(view))
            for u, view in zip(utterances, views, strict=True)
        ]
    )


def _latest(utterances: Sequence[Utterance], seat: Seat) -> int:
    """Return the turn at which a seat spoke last, −1 when it never did."""
    for utterance in reversed(utterances):  # a generator would take twice as long
        if utterance.seat == seat:
            return utterance.turn
    return -1


def repairs_of(said: Sequence[Utterance]) -> tuple[list[Event], tuple[Reward, ...]]:
    """Return the events of repaired replies and of their notes, and ``format`` penalties."""
    flawed = [u for u in said if u.repair]
    repairs = [Event("text.repaired", u.seat, u.turn, {"reason": u.repair}) for u in flawed]
    notes = [
        Event(kind, u.seat, u.turn, {"count": count})
        for u in said
        if u.reply is not None
        for kind, count in u.reply.notes.items()
    ]
    penalties = tuple([Reward(u.seat, "format", -1.0, u.turn) for u in flawed])
    return repairs + notes, penalties


def dated(
    things: tuple[_DatedT, ...], utterances: Sequence[Utterance]
) -> tuple[_DatedT, ...]:
    """Return things of a step, each with its turn; the very same where all have one.

    Args:
        things: rewards, grades, events or facts; a negative turn stands for the seat's
            latest.
        utterances: all that was said.
    """
    for one in things:
        if one.turn < 0:
            break
    else:  # `all` and a generator would take thrice as long
        return things
    return tuple(
        [
            one if one.turn >= 0 else replace(one, turn=_latest(utterances, one.seat))
            for one in things
        ]
    )


def stamped(step: Step, utterances: Sequence[Utterance]) -> Step:
    """Return a step whose rewards, grades, events and facts all name their turns.

    Args:
        step: of the rules.
        utterances: all that was said.
    """
    rewards = dated(step.rewards, utterances)
    if not (step.grades or step.events or step.judged or step.queries):  # most steps
        if rewards is step.rewards:
            return step
        return replace(step, rewards=rewards)
    return Step(
        step.state,
        rewards,
        dated(step.grades, utterances),
        dated(step.events, utterances),
        step.ending,
        dated(step.judged, utterances),
        step.planted,
        dated(step.queries, utterances),
    )


def shared_tools(tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
    """Return tools whose schemas no agent can change; the very same where they are so."""
    if all([type(tool.parameters) is ReadOnlyDict for tool in tools]):
        return tools
    return tuple([replace(tool, parameters=read_only(tool.parameters)) for tool in tools])


def payable(rewards: Sequence[Reward], scenario: Scenario[Any]) -> tuple[Reward, ...]:
    """Return the rewards of an episode, once they are known to be numbers.

    Raises:
        ProtocolError: one is none, or not finite: it would reach every member of its group.
    """
    total = 0.0
    try:
        for reward in rewards:  # `sum` over a list takes twice as long
            total += reward.value
        fine = isfinite(total)
    except (TypeError, OverflowError):
        fine = False
    # Only then one by one: this is done for every episode.
    for reward in () if fine else rewards:
        if not _is_finite(reward.value):
            raise ProtocolError(
                f"{scenario.id} paid {reward.value!r} to {reward.seat} (part "
                f"{reward.part!r}); rewards are finite numbers"
            )
    return tuple(rewards)


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, SupportsFloat) and isfinite(value)
    except OverflowError:
        return False


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


class Stamp:
    """Seed, role and turn count of a seat, with which views are stamped.

    Args:
        seed: what all seeds of the seat are made from.
        role: of the seat.
        turns: how often it was asked.
    """

    __slots__ = ("role", "seed", "turns")

    def __init__(self, seed: int, role: Role, turns: int) -> None:
        self.seed = seed
        self.role = role
        self.turns = turns
