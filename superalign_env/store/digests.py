"""Digests that tell whether two runs did the same.

Two runs that did the same have the same `digest`: left out is what may differ between them,
clocks and the links of signals that follow from them, names of folders and machines, versions,
what a writer thread happened to number first, and open leases.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from superalign_env.canonical import content_hash
from superalign_env.store.files import file_hashes
from superalign_env.store.run import Run
from superalign_env.store.seals import CHECKPOINTS
from superalign_env.store.serialization import EpisodeRow
from superalign_env.types import Signal


def digest(run: Run) -> dict[str, str]:
    """Return a hash of each part of a run, and of all parts together as ``run``.

    The parts: settings, stages, episodes (with every word, token, reward and what happened
    in them), events (beside those), metrics with their declarations, agents, hazards,
    signals, questions, annotators, cells, checkpoints.

    It is computed from the contents, not from the hashes beside them, and `validate` says
    whether these fit.
    """
    parts = {name: content_hash(list(part)) for name, part in _parts(run)}
    return {**parts, "run": content_hash(parts)}


def _parts(run: Run) -> Iterator[tuple[str, Iterator[Any]]]:
    yield "settings", iter(_settings(run))
    yield "stages", (stage._asdict() for stage in run.stages.all())
    yield "episodes", _episodes(run)
    yield "events", iter(_events(run))
    yield "metrics", iter(_metrics(run))
    yield "agents", (agent._asdict() for agent in sorted(run.agents.all()))
    yield "hazards", iter(_hazards(run))
    yield "signals", map(_statement, run.signals.read())
    yield "questions", iter(run.questions.all())
    yield "annotators", iter(_annotators(run))
    yield "cells", iter(_cells(run))
    yield "checkpoints", iter(file_hashes(run.path / CHECKPOINTS))


def _settings(run: Run) -> list[Any]:
    info = run.info
    config = {key: value for key, value in info.config.items() if key != "run_dir"}
    return [info.kind, info.status, config, info.seed, info.inherited]


def _metrics(run: Run) -> list[Any]:
    metrics = run.metrics.read()
    names = {row.metric.name for row in metrics}
    kinds = [kind for name, kind in sorted(run.metrics.kinds().items()) if name in names]
    return [*([row.stage, row.metric] for row in metrics), *kinds]


def _cells(run: Run) -> list[Any]:
    """Return what cells came to; neither their seconds nor the code that computed them."""
    return sorted(
        [
            [c.hash, c.experiment, c.params, c.seed, c.revision, c.status, c.result]
            for c in run.cells.all()
        ],
        key=lambda cell: str(cell[0]),
    )


_READ = 256
"""Episodes in memory at a time."""


def _episodes(run: Run) -> Iterator[list[str]]:
    """Yield id, stage and a cryptographic hash of every episode."""
    columns = ", ".join(f'"{column}"' for column in EpisodeRow._fields[:-1])
    names = run.database.rows("SELECT id, coalesce(stage, '') FROM episodes ORDER BY id")
    for start in range(0, len(names), _READ):
        chunk = names[start : start + _READ]
        marks = ",".join("?" * len(chunk))
        rows = run.database.rows(
            f"SELECT {columns} FROM episodes WHERE id IN ({marks}) ORDER BY id",
            [name for name, _ in chunk],
        )
        for (name, stage), row in zip(chunk, rows, strict=True):
            packed = msgspec.msgpack.encode(row)
            yield [name, stage, hashlib.blake2b(packed, digest_size=16).hexdigest()]


def _events(run: Run) -> list[Any]:
    """Return notices, in their order within stage and episode."""
    events = [[h.stage, h.episode, h.id, h.event] for h in run.events.read()]
    events.sort(key=lambda event: event[:3])
    return [[stage, episode, event] for stage, episode, _, event in events]


def _hazards(run: Run) -> list[Any]:
    evidence = run.events.get(h.event for h in run.hazards.all() if h.event is not None)
    return [
        [
            *hazard._replace(event=None),
            [happened.stage, happened.episode, happened.event] if happened else None,
        ]
        for hazard in run.hazards.all()
        for happened in [evidence.get(hazard.event or 0)]
    ]


def _annotators(run: Run) -> list[Any]:
    return [
        list(row)
        for row in run.database.rows(
            'SELECT id, "group", profile FROM annotators ORDER BY id'
        )
    ]


def _statement(signal: Signal) -> list[Any]:
    return [
        signal.id,
        signal.kind,
        signal.episode,
        signal.turn,
        signal.versus,
        signal.versus_episode,
        signal.source,
        signal.value,
        signal.confidence,
        signal.payload,
        signal.question,
    ]
