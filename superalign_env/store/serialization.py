"""An episode as one row of the record, and back, exactly.

What people choose episodes by lies in columns of its own. What was said, paid and graded,
and what happened, lies in columns of JSON, which views show as tables. What episodes share
(who sat where, the rules) is stored once and named by its content. A hash covers all of it,
by which `integrity` sees whether anything was changed later.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from xxhash import xxh3_128_hexdigest

from superalign_env.canonical import content_hash, to_json
from superalign_env.store.database import Row
from superalign_env.store.utterances import (
    read_utterances,
    require_numbers,
    write_utterances,
)
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Event,
    Grade,
    Judged,
    Planted,
    Query,
    Reward,
    Role,
    Seat,
    Task,
    role_of,
)

_MANY = 4096
"""Caches start anew at this size."""


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
    """Content hash of who sat where."""
    rules: str
    """Content hash of the rules."""
    said: str
    """JSON: a list of `superalign_env.store.utterances.UtteranceLine`."""
    paid: str
    """JSON: a list of (turn, seat, part, value)."""
    graded: str
    """JSON: a list of (turn, seat, axis, name, value)."""
    happened: str
    """JSON: a list of (turn, seat, kind, evidence)."""
    judged: str
    """JSON: a list of `Judged`."""
    planted: str
    """JSON: a list of `Planted`."""
    queries: str
    """JSON: a list of `Query`."""
    numbers: bytes
    """Token ids and log-probs of all utterances, one after the other."""
    record: str
    """JSON of the `Rest`."""
    hash: str
    """Over all other columns."""


class EpisodeRows(NamedTuple):
    """All rows about one episode, less stages and agents."""

    episode: EpisodeRow
    seats: Sequence[Row]
    """(seat, role, agent), in order."""
    rules: str
    """JSON of the `Rules`."""


class Rest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fields of an episode that no other column holds, or not wholly."""

    task: Task
    key: EpisodeKey
    ending: Ending
    schema_version: int = 1
    fork_at: Seat = ""


class Rules(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fields that all episodes of one scenario share."""

    options: dict[str, Any] = {}
    renderer: str = ""
    source: str = ""
    weights: dict[Role, dict[str, float]] = {}


_Seating = tuple[str, tuple[Row, ...]]
"""Its content hash; (seat, role, agent) of every seat."""

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode

_rest = msgspec.json.Decoder(Rest).decode
_rules = msgspec.json.Decoder(Rules).decode
_rewards = msgspec.json.Decoder(list[tuple[int, str, str, float]]).decode
_grades = msgspec.json.Decoder(list[tuple[int, str, str, str, float]]).decode
_events = msgspec.json.Decoder(list[tuple[int, str, str, dict[str, Any]]]).decode
_judged = msgspec.json.Decoder(tuple[Judged, ...]).decode
_planted = msgspec.json.Decoder(tuple[Planted, ...]).decode
_queries = msgspec.json.Decoder(tuple[Query, ...]).decode


class Packer:
    """Encoder of episodes as rows, with caches of what episodes share."""

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
        said, numbers = write_utterances(episode.utterances)
        columns = (
            *_columns(episode),
            seating,
            rules,
            said.decode(),
            _paid(episode.rewards),
            _graded(episode.grades),
            _happened(episode.events),
            _facts(episode.judged),
            _facts(episode.planted),
            _facts(episode.queries),
            numbers,
            _record(episode),
        )
        row = EpisodeRow._make((*columns, episode_hash(columns)))
        return EpisodeRows(row, seats, rules_json)

    def _seating(self, seats: dict[Seat, AgentSpec]) -> _Seating:
        """Return the seating; specs are few and shared by many episodes."""
        specs = seats.values()
        key: tuple[Seat | int, ...] = (*seats, *map(id, specs))
        cached = self._seatings.get(key)
        if cached is None:
            if len(self._seatings) >= _MANY:
                self._seatings.clear()
            named = {seat: content_hash(spec) for seat, spec in seats.items()}
            rows = tuple([(s, role_of(s), agent) for s, agent in named.items()])
            self.specs.update(zip(named.values(), specs, strict=True))
            # The specs are kept, so that no other object gets the id of one.
            cached = self._seatings[key] = ((seating_hash(rows), rows), list(specs))
        return cached[0]

    def _rules_of(self, episode: Episode) -> tuple[str, str]:
        """Return hash and canonical JSON of the rules, computed once for each."""
        rules = Rules(episode.options, episode.renderer, episode.source, episode.weights)
        key = _encode(rules)
        cached = self._rules.get(key)
        if cached is None:
            if len(self._rules) >= _MANY:
                self._rules.clear()
            cached = content_hash(rules), to_json(rules).decode()
            self._rules[key] = cached
        return cached


def unpack(rows: EpisodeRows, specs: Mapping[str, AgentSpec]) -> Episode:
    """Return the episode that `Packer.pack` made the rows of.

    Args:
        rows: as they lie in the tables.
        specs: agents by content hash.

    Raises:
        ValueError: a column is not what is written there.
        KeyError: an agent is missing.
    """
    row = rows.episode
    rest, rules = _rest(row.record), _rules(rows.rules)
    return Episode(
        id=row.id,
        scenario=f"{row.scenario}-{row.version}" if row.version else row.scenario,
        task=rest.task,
        key=rest.key,
        seats={seat: specs[agent] for seat, _, agent in rows.seats},
        utterances=tuple(read_utterances(row.said, row.numbers)),
        rewards=tuple(rewards_of(row.paid)),
        ending=rest.ending,
        options=rules.options,
        renderer=rules.renderer,
        source=rules.source,
        grades=tuple(grades_of(row.graded)),
        events=tuple(events_of(row.happened)),
        judged=_judged(row.judged),
        planted=_planted(row.planted),
        queries=_queries(row.queries),
        arm=row.arm,
        parent=row.parent,
        weights=rules.weights,
        schema_version=rest.schema_version,
        fork_at=rest.fork_at,
    )


def require_readable(row: EpisodeRow) -> None:
    """Raise unless `unpack` can read a row. It builds no episode, in a third of the time.

    Raises:
        ValueError: a column is not what is written there.
    """
    require_numbers(row.said, row.numbers)
    _rest(row.record)
    _rewards(row.paid)
    _grades(row.graded)
    _events(row.happened)
    _judged(row.judged)
    _planted(row.planted)
    _queries(row.queries)


def rewards_of(paid: str) -> list[Reward]:
    """Return the rewards that lie in ``episodes.paid``."""
    return [Reward(seat, part, value, turn) for turn, seat, part, value in _rewards(paid)]


def grades_of(graded: str) -> list[Grade]:
    """Return the grades that lie in ``episodes.graded``."""
    return [
        Grade(seat, axis, name, value, turn)
        for turn, seat, axis, name, value in _grades(graded)
    ]


def events_of(happened: str) -> list[Event]:
    """Return the events that lie in ``episodes.happened``."""
    return [
        Event(kind, seat, turn, evidence)
        for turn, seat, kind, evidence in _events(happened)
    ]


def finite(value: float) -> float:
    """Return the number as SQLite gives it back: a float, and no negative zero."""
    value = float(value) + 0.0
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be recorded; keep rewards and grades finite")
    return value


def episode_hash(columns: Row) -> str:
    """Return 32 hex digits over all columns of an episode but the hash.

    XXH3, not a cryptographic hash: whoever alters a record on purpose can seal it anew.
    """
    return xxh3_128_hexdigest(_pack(columns))


def seating_hash(seats: Iterable[Row]) -> str:
    """Return the content hash of who sat where."""
    return content_hash([list(seat) for seat in seats], floats=False)


@lru_cache(maxsize=_MANY)
def _split_version(scenario: str) -> tuple[str, str]:
    """Split a versioned id: ``red-team-v0`` → ``("red-team", "v0")``."""
    plain, _, version = scenario.rpartition("-v")
    return (plain, f"v{version}") if plain and version.isdecimal() else (scenario, "")


def _columns(episode: Episode) -> Row:
    """Return the columns by which episodes are chosen."""
    key, task = episode.key, episode.task
    scenario, version = _split_version(episode.scenario)
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


def _paid(rewards: Sequence[Reward]) -> str:
    return _with_numbers([(r.turn, r.seat, r.part, float(r.value) + 0.0) for r in rewards])


def _graded(grades: Sequence[Grade]) -> str:
    return _with_numbers(
        [(g.turn, g.seat, g.axis, g.name, float(g.value) + 0.0) for g in grades]
    )


def _with_numbers(rows: Sequence[Row]) -> str:
    """Return the JSON of rows that end with a number, once all of them are finite."""
    raw = _encode(rows) if rows else b"[]"
    if b"null" in raw:  # so JSON says NaN and infinity; a name may say it, too
        for row in rows:
            finite(row[-1])
    return raw.decode()


def _happened(events: Sequence[Event]) -> str:
    if not events:
        return "[]"
    return to_json([(e.turn, e.seat, e.kind, e.evidence) for e in events]).decode()


def _facts(facts: Sequence[Judged | Planted | Query]) -> str:
    return to_json(facts).decode() if facts else "[]"


def _record(episode: Episode) -> str:
    rest = Rest(
        episode.task, episode.key, episode.ending, episode.schema_version, episode.fork_at
    )
    return to_json(rest).decode()
