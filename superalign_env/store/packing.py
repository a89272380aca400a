"""An episode as rows of tables, and back, exactly.

What has a column of its own lies there; the rest (the spine) lies in
``episodes.record`` as canonical JSON, beside a hash over all rows of the episode, by
which `integrity` sees whether anything was changed later.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from superalign_env.canonical import from_json, to_json
from superalign_env.store.blobs import floats, from_floats, from_integers, integers
from superalign_env.store.database import Row
from superalign_env.store.spine import Sealed, Spine, Spoken
from superalign_env.types import (
    AgentSpec,
    Episode,
    Event,
    Grade,
    Reply,
    Reward,
    Utterance,
    role_of,
)

_encode = msgspec.json.Encoder().encode


class EpisodeRows(NamedTuple):
    """The rows of one episode, as they lie in the tables (less stages and agents)."""

    episode: Row
    seats: list[Row]
    utterances: list[Row]
    rewards: list[Row]
    grades: list[Row]
    events: list[Row]


def pack(episode: Episode, name_of: Callable[[AgentSpec], str]) -> EpisodeRows:
    """Return the rows of an episode.

    Args:
        episode: what was played.
        name_of: returns the content hash of an agent's spec.

    Raises:
        ValueError: numbers that are not finite, ids beyond 32 bits, lone surrogates.
    """
    name = episode.id
    seats = [(name, s, role_of(s), name_of(spec)) for s, spec in episode.seats.items()]
    said = [_utterance_row(name, u) for u in episode.utterances]
    rewards = [(name, r.turn, r.seat, r.part, finite(r.value)) for r in episode.rewards]
    grades = [
        (name, g.turn, g.seat, g.axis, g.name, finite(g.value)) for g in episode.grades
    ]
    events = [
        (name, e.turn, e.seat, e.kind, to_json(e.evidence).decode()) for e in episode.events
    ]
    spine = Spine(
        episode.task,
        episode.key,
        tuple([_spoken(u) for u in episode.utterances]),
        episode.ending,
        len(events),
        episode.options,
        episode.renderer,
        episode.source,
        episode.weights,
        episode.schema_version,
        episode.fork_at,
    )
    raw = to_json(spine)
    columns = _columns(episode)
    seal = _seal(columns, raw, seats, said, rewards, grades, events)
    record = _encode(Sealed(seal, msgspec.Raw(raw))).decode()
    return EpisodeRows((*columns, record), seats, said, rewards, grades, events)


def unpack(rows: EpisodeRows, specs: Mapping[str, AgentSpec]) -> Episode:
    """Return the episode that `pack` made the rows of.

    Args:
        rows: as they lie in the tables.
        specs: agents by content hash.

    Raises:
        ValueError: the record is not what this version writes.
        KeyError: an agent is missing.
    """
    name, scenario, version, _, _, _, _, parent, _, arm, _, record = rows.episode
    spine = from_json(bytes(from_json(record, Sealed).spine), Spine)
    spoken = zip(rows.utterances, spine.spoken, strict=True)
    return Episode(
        id=name,
        scenario=f"{scenario}-{version}" if version else scenario,
        task=spine.task,
        key=spine.key,
        seats={seat: specs[agent] for _, seat, _, agent in rows.seats},
        utterances=tuple([_utterance(row, rest) for row, rest in spoken]),
        rewards=tuple([Reward(s, part, v, turn) for _, turn, s, part, v in rows.rewards]),
        ending=spine.ending,
        options=spine.options,
        renderer=spine.renderer,
        source=spine.source,
        grades=tuple(
            [Grade(s, axis, of, v, turn) for _, turn, s, axis, of, v in rows.grades]
        ),
        events=tuple([event_of(row[1:]) for row in rows.events[: spine.events]]),
        arm=arm,
        parent=parent,
        weights=spine.weights,
        schema_version=spine.schema_version,
        fork_at=spine.fork_at,
    )


def is_sealed(rows: EpisodeRows) -> bool:
    """Return whether the rows are those that were written.

    Raises:
        ValueError: the record cannot be read at all.
    """
    sealed = from_json(rows.episode[-1], Sealed)
    raw = bytes(sealed.spine)
    own = rows._replace(events=rows.events[: from_json(raw, Spine).events])
    return sealed.hash == _seal(rows.episode[:-1], raw, *own[1:])


def event_of(row: Row) -> Event:
    """Return the event of (turn, seat, kind, evidence)."""
    turn, seat, kind, evidence = row
    return Event(kind, seat, turn, from_json(evidence, dict[str, Any]))


def split_version(scenario: str) -> tuple[str, str]:
    """Split a versioned id: ``red-team-v0`` → ``("red-team", "v0")``."""
    plain, _, version = scenario.rpartition("-v")
    return (plain, f"v{version}") if plain and version.isdecimal() else (scenario, "")


def _columns(episode: Episode) -> Row:
    key, task = episode.key, episode.task
    scenario, version = split_version(episode.scenario)
    seed = (key.run + (1 << 63)) % (1 << 64) - (1 << 63)  # SQLite's integers are signed
    return (
        episode.id,
        scenario,
        version,
        task.id,
        task.split,
        key.case,
        key.member,
        episode.parent,
        seed,
        episode.arm,
        episode.ending.kind,
    )


def _utterance_row(name: str, said: Utterance) -> Row:
    reply = said.reply
    if reply is None:
        return (name, said.turn, said.seat, said.text, None, None, None, "")
    return (
        name,
        said.turn,
        said.seat,
        said.text,
        from_integers(reply.prompt_ids),
        from_integers(reply.token_ids),
        from_floats(reply.logprobs),
        reply.policy,
    )


def _spoken(said: Utterance) -> Spoken:
    reply = said.reply
    if reply is None:
        return Spoken(said.group, said.repair, said.view, False)
    return Spoken(
        said.group,
        said.repair,
        said.view,
        True,
        None if reply.text == said.text else reply.text,
        reply.thought,
        reply.tool_calls,
        reply.finish,
        reply.usage,
        reply.error,
    )


def _utterance(row: Row, rest: Spoken) -> Utterance:
    _, turn, seat, text, prompt_ids, token_ids, logprobs, policy = row
    reply = None
    if rest.replied:
        reply = Reply(
            text if rest.raw is None else rest.raw,
            rest.thought,
            rest.tool_calls,
            integers(prompt_ids),
            integers(token_ids),
            floats(logprobs),
            rest.finish,
            rest.usage,
            policy,
            rest.error,
        )
    return Utterance(seat, turn, rest.group, text, reply, rest.repair, rest.view)


def finite(value: float) -> float:
    """Return the number as SQLite gives it back: a float, and no negative zero."""
    value = float(value) + 0.0
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be recorded; keep rewards and grades finite")
    return value


def _seal(columns: Row, raw: bytes, *tables: Sequence[Row]) -> str:
    """Return 32 hex digits over everything that belongs to an episode."""
    digest = hashlib.blake2b(raw, digest_size=16)
    digest.update(_encode((columns, tables)))
    return digest.hexdigest()
