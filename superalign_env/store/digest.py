"""What a run came to, as few hashes: two runs that did the same have the same ones.

Left out is what may differ between two runs that did the same: clocks and the links of
signals that follow from them, names of folders, what a writer thread happened to number
first, and open leases.
"""

from collections.abc import Iterator
from typing import Any

from superalign_env.canonical import content_hash
from superalign_env.store.files import file_hashes
from superalign_env.store.run import Run
from superalign_env.types import Signal

CHECKPOINTS = "checkpoints"


def digest(run: Run) -> dict[str, str]:
    """Return a hash of each part of a run, and of all parts together as ``run``.

    The parts: settings, stages, episodes (with every word, token, reward and what happened
    in them), events (beside those), metrics, agents, hazards, signals, questions,
    annotators, checkpoints.
    """
    parts = {name: content_hash(list(part)) for name, part in _parts(run)}
    return {**parts, "run": content_hash(parts)}


def _parts(run: Run) -> Iterator[tuple[str, Iterator[Any]]]:
    yield "settings", iter(_settings(run))
    yield "stages", (stage._asdict() for stage in run.stages.all())
    yield "episodes", iter(_episodes(run))
    yield "events", iter(_events(run))
    yield "metrics", ([m.stage, m.metric] for m in run.metrics.read())
    yield "agents", (agent._asdict() for agent in sorted(run.agents.all()))
    yield "hazards", iter(_hazards(run))
    yield "signals", map(_said, run.signals.read())
    yield "questions", iter(run.questions.all())
    yield "annotators", iter(_annotators(run))
    yield "checkpoints", iter(file_hashes(run.path / CHECKPOINTS))


def _settings(run: Run) -> list[Any]:
    info = run.info
    config = {key: value for key, value in info.config.items() if key != "run_dir"}
    return [info.kind, info.status, config, info.seed, info.inherited]


def _episodes(run: Run) -> list[Any]:
    """Return the seals of all episodes: each covers its rows in every table."""
    return [
        list(row)
        for row in run.database.rows(
            "SELECT id, coalesce(stage, ''), hash FROM episodes ORDER BY id"
        )
    ]


def _events(run: Run) -> list[Any]:
    """Return what was noticed, in its order within stage and episode."""
    found = [[h.stage, h.episode, h.id, h.event] for h in run.events.read()]
    found.sort(key=lambda event: event[:3])
    return [[stage, episode, event] for stage, episode, _, event in found]


def _hazards(run: Run) -> list[Any]:
    known = run.events.get(h.event for h in run.hazards.all() if h.event is not None)
    return [
        [
            *hazard._replace(event=None),
            [happened.stage, happened.episode, happened.event] if happened else None,
        ]
        for hazard in run.hazards.all()
        for happened in [known.get(hazard.event or 0)]
    ]


def _annotators(run: Run) -> list[Any]:
    return [
        list(row)
        for row in run.database.rows(
            'SELECT id, "group", profile FROM annotators ORDER BY id'
        )
    ]


def _said(signal: Signal) -> list[Any]:
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
