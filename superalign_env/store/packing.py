"""An episode as rows of tables (and back, exactly, in `unpacking`).

What has a column of its own lies there; the rest (the spine) lies in
``episodes.record`` as canonical JSON, beside a hash over all rows of the episode, by
which `integrity` sees whether anything was changed later.
"""

import math
from typing import NamedTuple

import msgspec

from superalign_env.canonical import content_hash, to_json
from superalign_env.store.blobs import from_floats, from_integers
from superalign_env.store.database import Row
from superalign_env.store.spine import Rules, Sealed, Spine, Spoken, seal
from superalign_env.types import (
    AgentSpec,
    Episode,
    Utterance,
    role_of,
)

_encode = msgspec.json.Encoder().encode

_MANY = 4096
"""Caches start anew at this size."""


class EpisodeRows(NamedTuple):
    """The rows of one episode, as they lie in the tables (less stages and agents)."""

    episode: Row
    seats: list[Row]
    utterances: list[Row]
    rewards: list[Row]
    grades: list[Row]
    events: list[Row]


class Packer:
    """Makes rows of episodes, and remembers what episodes share."""

    def __init__(self) -> None:
        self.specs: dict[str, AgentSpec] = {}
        """Every agent that was met, by content hash."""
        self._names: dict[int, tuple[AgentSpec, str]] = {}
        self._rules: dict[bytes, bytes] = {}

    def pack(self, episode: Episode) -> EpisodeRows:
        """Return the rows of an episode.

        Raises:
            ValueError: numbers that are not finite, ids beyond 32 bits, lone surrogates.
        """
        name = episode.id
        seats = [
            (name, s, role_of(s), self._name(spec)) for s, spec in episode.seats.items()
        ]
        said = [_utterance_row(name, u) for u in episode.utterances]
        rewards = [
            (name, r.turn, r.seat, r.part, float(r.value) + 0.0) for r in episode.rewards
        ]
        grades = [
            (name, g.turn, g.seat, g.axis, g.name, float(g.value) + 0.0)
            for g in episode.grades
        ]
        _require_finite(rewards, grades)
        events = [
            (name, e.turn, e.seat, e.kind, to_json(e.evidence).decode())
            for e in episode.events
        ]
        rules, spine, columns = self._rules_of(episode), _spine(episode), _columns(episode)
        hash_ = seal(columns, rules, spine, seats, said, rewards, grades, events)
        record = _encode(Sealed(hash_, msgspec.Raw(rules), msgspec.Raw(spine))).decode()
        return EpisodeRows((*columns, record), seats, said, rewards, grades, events)

    def _name(self, spec: AgentSpec) -> str:
        """Return the content hash of a spec; specs are few and shared by many episodes."""
        found = self._names.get(id(spec))
        if found is None:
            if len(self._names) >= _MANY:
                self._names.clear()
            found = self._names[id(spec)] = (spec, content_hash(spec))
            self.specs.setdefault(found[1], spec)
        return found[1]

    def _rules_of(self, episode: Episode) -> bytes:
        """Return the canonical JSON of the rules, computed once for each."""
        rules = Rules(episode.options, episode.renderer, episode.source, episode.weights)
        key = _encode(rules)
        found = self._rules.get(key)
        if found is None:
            if len(self._rules) >= _MANY:
                self._rules.clear()
            found = self._rules[key] = to_json(rules)
        return found


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


def _require_finite(*tables: list[Row]) -> None:
    for rows in tables:
        # One sum is cheaper than many tests, and finite only if its parts are.
        if rows and not math.isfinite(sum([row[-1] for row in rows])):
            for row in rows:
                finite(row[-1])


def _spine(episode: Episode) -> bytes:
    return to_json(
        Spine(
            episode.task,
            episode.key,
            tuple([_spoken(u) for u in episode.utterances]),
            episode.ending,
            len(episode.events),
            episode.schema_version,
            episode.fork_at,
        )
    )


def finite(value: float) -> float:
    """Return the number as SQLite gives it back: a float, and no negative zero."""
    value = float(value) + 0.0
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be recorded; keep rewards and grades finite")
    return value
