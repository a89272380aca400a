"""An episode as a row of a table (and back, exactly, in `unpacking`).

What people choose episodes by lies in columns of its own. What was said, paid and graded,
and what happened, lies in columns of JSON, which views show as tables. What episodes share
(who sat where, the rules) is stored once and named by its content. A hash covers all of it,
by which `integrity` sees whether anything was changed later.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from superalign_env.canonical import content_hash, to_json
from superalign_env.store.database import Row
from superalign_env.store.lines import written
from superalign_env.store.spine import (
    FORMAT,
    EpisodeRow,
    EpisodeRows,
    Rules,
    Sealed,
    Spine,
    seal,
)
from superalign_env.types import AgentSpec, Episode, Event, Grade, Reward, Seat, role_of

_encode = msgspec.json.Encoder().encode

_MANY = 4096
"""Caches start anew at this size."""

_Seating = tuple[str, tuple[Row, ...]]
"""Its content hash; (seat, role, agent) of every seat."""


class Packer:
    """Makes rows of episodes, and remembers what episodes share."""

    def __init__(self) -> None:
        self.specs: dict[str, AgentSpec] = {}
        """Every agent that was met, by content hash."""
        self._seatings: dict[tuple[Seat | int, ...], tuple[_Seating, list[AgentSpec]]] = {}
        self._rules: dict[bytes, tuple[str, str]] = {}

    def pack(self, episode: Episode) -> EpisodeRows:
        """Return the rows of an episode.

        Raises:
            ValueError: numbers that are not finite, ids beyond 32 bits, lone surrogates.
        """
        seating, seats = self._seating(episode.seats)
        rules, rules_json = self._rules_of(episode)
        said, numbers = written(episode.utterances)
        paid, graded = _paid(episode.rewards), _graded(episode.grades)
        happened = _happened(episode.events)
        spine = _spine(episode)
        head = (*_columns(episode), seating, rules)
        hash_ = seal(head, spine, paid, graded, said, happened, numbers)
        record = _encode(Sealed(hash_, msgspec.Raw(spine), FORMAT))
        texts = [part.decode() for part in (record, paid, graded, said, happened)]
        row = EpisodeRow._make((*head, *texts, numbers))
        return EpisodeRows(row, seats, rules_json)

    def _seating(self, seats: dict[Seat, AgentSpec]) -> _Seating:
        """Return who sits where; specs are few and shared by many episodes."""
        specs = seats.values()
        key: tuple[Seat | int, ...] = (*seats, *map(id, specs))
        found = self._seatings.get(key)
        if found is None:
            if len(self._seatings) >= _MANY:
                self._seatings.clear()
            named = {seat: content_hash(spec) for seat, spec in seats.items()}
            rows = tuple([(s, role_of(s), agent) for s, agent in named.items()])
            self.specs.update(zip(named.values(), specs, strict=True))
            # The specs are kept, so that no other object gets the id of one.
            found = self._seatings[key] = ((seating_hash(rows), rows), list(specs))
        return found[0]

    def _rules_of(self, episode: Episode) -> tuple[str, str]:
        """Return hash and canonical JSON of the rules, computed once for each."""
        rules = Rules(episode.options, episode.renderer, episode.source, episode.weights)
        key = _encode(rules)
        found = self._rules.get(key)
        if found is None:
            if len(self._rules) >= _MANY:
                self._rules.clear()
            found = content_hash(rules), to_json(rules).decode()
            self._rules[key] = found
        return found


def seating_hash(seats: Iterable[Row]) -> str:
    """Return the content hash of who sits where: of (seat, role, agent)."""
    return content_hash([list(seat) for seat in seats], floats=False)


@lru_cache(maxsize=_MANY)
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


def _paid(rewards: Sequence[Reward]) -> bytes:
    try:
        raw = _encode([(r.turn, r.seat, r.part, r.value + 0.0) for r in rewards])
    except TypeError:  # numbers of numpy's
        raw = _encode([(r.turn, r.seat, r.part, finite(r.value)) for r in rewards])
    if b"null" in raw:
        for reward in rewards:
            finite(reward.value)
    return raw


def _graded(grades: Sequence[Grade]) -> bytes:
    try:
        raw = _encode([(g.turn, g.seat, g.axis, g.name, g.value + 0.0) for g in grades])
    except TypeError:  # numbers of numpy's
        raw = _encode([(g.turn, g.seat, g.axis, g.name, finite(g.value)) for g in grades])
    if b"null" in raw:
        for grade in grades:
            finite(grade.value)
    return raw


def _happened(events: Sequence[Event]) -> bytes:
    if not events:
        return b"[]"
    return to_json([(e.turn, e.seat, e.kind, e.evidence) for e in events])


def _spine(episode: Episode) -> bytes:
    return to_json(
        Spine(
            episode.task,
            episode.key,
            episode.ending,
            schema_version=episode.schema_version,
            fork_at=episode.fork_at,
        )
    )


def finite(value: float) -> float:
    """Return the number as SQLite gives it back: a float, and no negative zero."""
    value = float(value) + 0.0
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be recorded; keep rewards and grades finite")
    return value
