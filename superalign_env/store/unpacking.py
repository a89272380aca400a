"""Rows of tables as an episode again, and whether they are those that were written."""

from collections.abc import Mapping
from typing import Any

import msgspec

from superalign_env.canonical import from_json, text_hash
from superalign_env.store.database import Row
from superalign_env.store.earlier_formats import first_seal, first_utterances, second_seal
from superalign_env.store.lines import utterances
from superalign_env.store.packing import seating_hash
from superalign_env.store.spine import FORMAT, EpisodeRows, Rules, Sealed, Spine, seal
from superalign_env.types import AgentSpec, Episode, Event, Grade, Reward

Paid = tuple[int, str, str, float]
"""(turn, seat, part, value)"""

Graded = tuple[int, str, str, str, float]
"""(turn, seat, axis, name, value)"""

Happening = tuple[int, str, str, dict[str, Any]]
"""(turn, seat, kind, evidence)"""

_sealed = msgspec.json.Decoder(Sealed).decode
_spine = msgspec.json.Decoder(Spine).decode
_rules = msgspec.json.Decoder(Rules).decode
_paid = msgspec.json.Decoder(list[Paid]).decode
_graded = msgspec.json.Decoder(list[Graded]).decode
_happened = msgspec.json.Decoder(list[Happening]).decode


def unpack(rows: EpisodeRows, specs: Mapping[str, AgentSpec]) -> Episode:
    """Return the episode that `pack` made the rows of.

    Args:
        rows: as they lie in the tables.
        specs: agents by content hash.

    Raises:
        ValueError: the record is not what this version writes.
        KeyError: an agent is missing.
    """
    row = rows.episode
    sealed = _sealed(row.record)
    spine = _spine(sealed.spine)
    first = sealed.format == 1
    rules = _rules(sealed.rules if first else rows.rules)
    said = (
        first_utterances(rows, spine.spoken) if first else utterances(row.said, row.numbers)
    )
    return Episode(
        id=row.id,
        scenario=f"{row.scenario}-{row.version}" if row.version else row.scenario,
        task=spine.task,
        key=spine.key,
        seats={seat: specs[agent] for seat, _, agent in rows.seats},
        utterances=tuple(said),
        rewards=tuple(rewards_of(row.paid)),
        ending=spine.ending,
        options=rules.options,
        renderer=rules.renderer,
        source=rules.source,
        grades=tuple(grades_of(row.graded)),
        events=tuple(_events(rows, spine)),
        arm=row.arm,
        parent=row.parent,
        weights=rules.weights,
        schema_version=spine.schema_version,
        fork_at=spine.fork_at,
    )


def is_sealed(rows: EpisodeRows) -> bool:
    """Return whether the rows are those that were written.

    Raises:
        ValueError: the record cannot be read at all.
    """
    row = rows.episode
    sealed = _sealed(row.record)
    spine = bytes(sealed.spine)
    own = rows.noticed[: _spine(spine).events]
    happened = row.happened.encode()
    if sealed.format < FORMAT and happened != b"[]":
        return False  # their seals do not cover it
    if sealed.format == 1:
        return sealed.hash == first_seal(rows, sealed, own)
    if row.seating != seating_hash(rows.seats) or row.rules != text_hash(rows.rules):
        return False
    head = row[: row._fields.index("record")]
    parts = (spine, row.paid.encode(), row.graded.encode(), row.said.encode())
    if sealed.format == 2:
        return sealed.hash == second_seal(head, own, *parts, row.numbers)
    return sealed.hash == seal(head, *parts, happened, row.numbers)


def _events(rows: EpisodeRows, spine: Spine) -> list[Event]:
    """Return what happened in an episode: in its row, or in rows of earlier formats."""
    early = [event_of(row[1:]) for row in rows.noticed[: spine.events]]
    return early + events_of(rows.episode.happened)


def rewards_of(paid: str) -> list[Reward]:
    """Return the rewards that lie in ``episodes.paid``."""
    return [Reward(seat, part, value, turn) for turn, seat, part, value in _paid(paid)]


def grades_of(graded: str) -> list[Grade]:
    """Return the grades that lie in ``episodes.graded``."""
    return [
        Grade(seat, axis, name, value, turn)
        for turn, seat, axis, name, value in _graded(graded)
    ]


def events_of(happened: str) -> list[Event]:
    """Return the events that lie in ``episodes.happened``."""
    return [
        Event(kind, seat, turn, evidence)
        for turn, seat, kind, evidence in _happened(happened)
    ]


def event_of(row: Row) -> Event:
    """Return the event of (turn, seat, kind, evidence)."""
    turn, seat, kind, evidence = row
    return Event(kind, seat, turn, from_json(evidence, dict[str, Any]))
