"""Is the record what was written? Every problem is named; nothing is repaired."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from superalign_env.errors import RecordError
from superalign_env.store.queries import Played
from superalign_env.store.run import Run
from superalign_env.store.unpacking import is_sealed


class Problem(NamedTuple):
    """One thing that is wrong with a run."""

    kind: str
    """``database``, ``reference``, ``episode``, ``signals``, ``checkpoint``, ``stage``."""
    what: str


def validate(run: Run) -> list[Problem]:
    """Return everything that is wrong with a run; an empty list when nothing is.

    Checks SQLite's own integrity, foreign keys, the content hash of every episode, the
    chain of signals, the signals that stages say they read, and that checkpoints exist.
    """
    damage = list(_database(run))
    if damage:
        return damage
    return [
        *_references(run),
        *_episodes(run),
        *_signals(run),
        *_checkpoints(run),
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
    played = Played(run.database)
    for rows in played.rows_of(run.episode_ids()):
        name = rows.episode.id
        try:
            if not is_sealed(rows):
                yield Problem("episode", f"{name} was altered after it was written")
            played.whole(rows)
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


def _checkpoints(run: Run) -> Iterator[Problem]:
    for agent in run.agents.all():
        if agent.path and not (run.path / Path(agent.path)).exists():
            yield Problem(
                "checkpoint", f"{agent.path} of agent {agent.hash[:12]} is missing"
            )
