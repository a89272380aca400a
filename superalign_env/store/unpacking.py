"""Rows of tables as an episode again, and whether they are those that were written."""

from collections.abc import Mapping
from typing import Any

from superalign_env.canonical import from_json
from superalign_env.store.blobs import floats, integers
from superalign_env.store.database import Row
from superalign_env.store.packing import EpisodeRows
from superalign_env.store.spine import Rules, Sealed, Spine, Spoken, seal
from superalign_env.types import AgentSpec, Episode, Event, Grade, Reply, Reward, Utterance


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
    sealed = from_json(record, Sealed)
    spine = from_json(bytes(sealed.spine), Spine)
    rules = from_json(bytes(sealed.rules), Rules)
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
        options=rules.options,
        renderer=rules.renderer,
        source=rules.source,
        grades=tuple(
            [Grade(s, axis, of, v, turn) for _, turn, s, axis, of, v in rows.grades]
        ),
        events=tuple([event_of(row[1:]) for row in rows.events[: spine.events]]),
        arm=arm,
        parent=parent,
        weights=rules.weights,
        schema_version=spine.schema_version,
        fork_at=spine.fork_at,
    )


def is_sealed(rows: EpisodeRows) -> bool:
    """Return whether the rows are those that were written.

    Raises:
        ValueError: the record cannot be read at all.
    """
    sealed = from_json(rows.episode[-1], Sealed)
    rules, spine = bytes(sealed.rules), bytes(sealed.spine)
    own = rows._replace(events=rows.events[: from_json(spine, Spine).events])
    return sealed.hash == seal(own.episode[:-1], rules, spine, *own[1:])


def event_of(row: Row) -> Event:
    """Return the event of (turn, seat, kind, evidence)."""
    turn, seat, kind, evidence = row
    return Event(kind, seat, turn, from_json(evidence, dict[str, Any]))


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
