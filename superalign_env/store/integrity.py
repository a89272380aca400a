"""Integrity of a record, and digests that tell whether two runs did the same.

`validate` names every problem and repairs nothing. Two runs that did the same have the same
`digest`: left out is what may differ between them, clocks and the links of signals that follow
from them, names of folders, what a writer thread happened to number first, and open leases.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from superalign_env.canonical import content_hash, from_json
from superalign_env.errors import RecordError
from superalign_env.store.files import (
    STATE,
    OnBytes,
    added_files,
    file_hash,
    file_hashes,
    hashed_files,
    named_files,
    stated_checkpoints,
)
from superalign_env.store.queries import EpisodeQueries
from superalign_env.store.run import Run
from superalign_env.store.serialization import is_sealed
from superalign_env.types import Signal

NOT_SEALED = (
    "settings",
    "stages",
    "agents",
    "metrics",
    "notices",
    "hazards",
    "questions",
    "annotators",
    "cells",
    "the stage that an episode is of",
)
"""What of a run has no hash, so that nobody would see it altered."""


class Problem(NamedTuple):
    """One thing that is wrong with a run."""

    kind: str
    """``database``, ``reference``, ``episode``, ``signals``, ``checkpoint``, ``stage``."""
    what: str


def validate(run: Run, progress: OnBytes | None = None) -> list[Problem]:
    """Return everything that is wrong with a run; an empty list when nothing is.

    Checks SQLite's own integrity, foreign keys, the content hash of every episode, the
    chain of signals, the signals that stages say they read, and that checkpoints and
    memories are there and are what was written, with no file added, and say of themselves
    what their stage said. See `NOT_SEALED` for what has no hash.

    Args:
        run: opened, to read at least.
        progress: is called with (bytes read, bytes in all) while files are hashed.
    """
    damage = list(_database(run))
    if damage:
        return damage
    return [
        *_references(run),
        *_episodes(run),
        *_signals(run),
        *_missing(run),
        *_altered(run, progress),
        *_added(run),
        *_misstated(run),
    ]


def _database(run: Run) -> Iterator[Problem]:
    try:
        for (line,) in run.database.rows("PRAGMA integrity_check"):
            if line != "ok":
                yield Problem("database", line)
    except RecordError as error:
        yield Problem("database", str(error))


def _references(run: Run) -> Iterator[Problem]:
    for table, row, target, _ in run.database.rows("PRAGMA foreign_key_check"):
        yield Problem("reference", f"row {row} of {table} points at nothing in {target}")


def _episodes(run: Run) -> Iterator[Problem]:
    queries = EpisodeQueries(run.database)
    for rows in queries.rows_of(run.episode_ids()):
        name = rows.episode.id
        try:
            if not is_sealed(rows):
                yield Problem("episode", f"{name} was altered after it was written")
            queries.whole(rows)
        except (ValueError, TypeError, msgspec.MsgspecError, RecordError) as error:
            yield Problem("episode", f"{name} cannot be read: {error}")


def _signals(run: Run) -> Iterator[Problem]:
    broken = run.signals.first_broken()
    if broken:
        yield Problem("signals", f"signal {broken} does not continue the one before it")
    last = run.signals.last_id()
    for stage in run.stages.all():
        if stage.signals_to > last:
            yield Problem(
                "signals",
                f"stage {stage.id} read up to {stage.signals_to}, the last is {last}",
            )


def _missing(run: Run) -> Iterator[Problem]:
    for name in sorted(named_files(run.database)):
        if not (run.path / name).exists():
            yield Problem("checkpoint", f"{name} is missing, and the record names it")


def _altered(run: Run, progress: OnBytes | None) -> Iterator[Problem]:
    """Compare files with their hashes, as a stream: a checkpoint may be larger than memory."""
    marks, named = hashed_files(run.database), named_files(run.database)
    sizes = {name: _size(run, name) for name in marks}
    done, total = 0, sum(sizes.values())

    def read(length: int) -> None:
        nonlocal done
        done += length
        if progress is not None:
            progress(done, total)

    for name in sorted(marks):
        try:
            digest_now = file_hash(run.path / name, read)
        except OSError as error:
            if name not in named and (run.path / name).parent.exists():  # told above
                yield Problem("checkpoint", f"{name} cannot be read: {error.strerror}")
            continue
        if digest_now != marks[name]:
            yield Problem("checkpoint", f"{name} was altered after it was written")


def _added(run: Run) -> Iterator[Problem]:
    for name in sorted(added_files(run.database)):
        yield Problem("checkpoint", f"{name} was added, and the record does not name it")


def _misstated(run: Run) -> Iterator[Problem]:
    """Compare the state files of checkpoints with the statements of their stages."""
    for folder, statements in sorted(stated_checkpoints(run.database).items()):
        name = f"{folder}/{STATE}"
        try:
            own = from_json((run.path / name).read_bytes(), dict[str, Any])
        except FileNotFoundError:
            if (run.path / folder).exists():  # else it was told above
                yield Problem("checkpoint", f"{name} is missing")
            continue
        except (OSError, msgspec.MsgspecError) as error:
            yield Problem("checkpoint", f"{name} cannot be read: {error}")
            continue
        if not any(_agree(own, statement) for statement in statements):
            yield Problem("checkpoint", f"{name} was altered after it was written")


def _agree(own: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint's state file agrees with its stage's statement.

    Where it lies, and as which agent it was entered, was settled after it was written.
    """
    settled = {"path": "", "agent": ""}
    return {**own, **settled} == {**said, **settled}


def _size(run: Run, name: str) -> int:
    try:
        return (run.path / name).stat().st_size
    except OSError:
        return 0


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
    yield "episodes", iter(_episode_seals(run))
    yield "events", iter(_events(run))
    yield "metrics", ([m.stage, m.metric] for m in run.metrics.read())
    yield "agents", (agent._asdict() for agent in sorted(run.agents.all()))
    yield "hazards", iter(_hazards(run))
    yield "signals", map(_statement, run.signals.read())
    yield "questions", iter(run.questions.all())
    yield "annotators", iter(_annotators(run))
    yield "checkpoints", iter(file_hashes(run.path / CHECKPOINTS))


def _settings(run: Run) -> list[Any]:
    info = run.info
    config = {key: value for key, value in info.config.items() if key != "run_dir"}
    return [info.kind, info.status, config, info.seed, info.inherited]


def _episode_seals(run: Run) -> list[Any]:
    """Return the seals of all episodes: each covers its rows in every table."""
    return [
        list(row)
        for row in run.database.rows(
            "SELECT id, coalesce(stage, ''), hash FROM episodes ORDER BY id"
        )
    ]


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
