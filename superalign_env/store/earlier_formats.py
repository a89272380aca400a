"""Records of earlier formats, which kept more of an episode in tables of its own.

In the first format that was what was said, paid and graded: a migration gathered those
rows into the columns that records have now, and here they are rows again, as their seal
was computed over them. In the first two it was what happened: those rows lie where they
lay, before what was noticed later.
"""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from superalign_env.canonical import from_json
from superalign_env.store import lines
from superalign_env.store.blobs import floats, integers
from superalign_env.store.database import Row
from superalign_env.store.spine import EpisodeRows, Sealed, Spoken
from superalign_env.types import Reply, Utterance

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode

_COLUMNS = 11
"""Columns of an episode that there were, without stage and record."""


def first_seal(rows: EpisodeRows, sealed: Sealed, events: Sequence[Row]) -> str:
    """Return the hash of the first format: over the rules, the spine, the rows of all tables.

    Args:
        rows: of the episode.
        sealed: its record.
        events: what happened in it.
    """
    row = rows.episode
    name = row.id
    tables: list[Sequence[Row]] = [
        [(name, *seat) for seat in rows.seats],
        [(name, *said) for said in lines.rows(row.said, row.numbers)],
        [(name, *reward) for reward in from_json(row.paid, list[list[object]])],
        [(name, *grade) for grade in from_json(row.graded, list[list[object]])],
        events,
    ]
    digest = hashlib.blake2b(bytes(sealed.rules), digest_size=16)
    digest.update(bytes(sealed.spine))
    digest.update(_encode((row[:_COLUMNS], tables)))
    return digest.hexdigest()


def second_seal(head: Row, events: Sequence[Row], *parts: bytes) -> str:
    """Return the hash of the second format: over columns and events, then the parts.

    Args:
        head: the episode's columns up to the hash of the rules.
        events: what happened in it.
        *parts: the spine, the columns of JSON, the numbers.
    """
    digest = hashlib.blake2b(_pack((head, events)), digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def first_utterances(rows: EpisodeRows, spoken: Sequence[Spoken]) -> Iterator[Utterance]:
    """Yield the utterances of an episode.

    Args:
        rows: of the episode.
        spoken: what its spine holds of them.

    Raises:
        ValueError: the two differ in length.
    """
    row = rows.episode
    said = lines.rows(row.said, row.numbers)
    for (turn, seat, text, *blobs, policy), rest in zip(said, spoken, strict=True):
        prompt_ids, token_ids, logprobs = blobs
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
        yield Utterance(seat, turn, rest.group, text, reply, rest.repair, rest.view)
