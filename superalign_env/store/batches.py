"""One batch of episodes, one transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from superalign_env.canonical import to_json
from superalign_env.store.database import Database, Row
from superalign_env.store.serialization import EpisodeRow, EpisodeRows, Packer
from superalign_env.store.undo import watch
from superalign_env.types import AgentSpec, Episode

_AGENTS = "INSERT OR IGNORE INTO agents(hash, spec) VALUES (?,?)"
_SEATINGS = (
    "INSERT OR IGNORE INTO seatings(hash, place, seat, role, agent) VALUES (?,?,?,?,?)"
)
_RULES = "INSERT OR IGNORE INTO rules(hash, rules) VALUES (?,?)"
_COLUMNS = [f'"{column}"' for column in (*EpisodeRow._fields, "stage")]
_EPISODES = (
    f"INSERT INTO episodes({', '.join(_COLUMNS)}) VALUES ({','.join('?' * len(_COLUMNS))})"
)

_ROWS_AT_ONCE = (256, 64, 16, 4, 1)
"""Few different statements, so that SQLite parses each of them once."""


class Prepared(NamedTuple):
    """Episodes as rows, which only want to be inserted."""

    rows: list[EpisodeRows]
    specs: dict[str, AgentSpec]
    """Who sits in them, by content hash."""
    refused: list[str]
    """What cannot be recorded, and why."""


class Preparing:
    """Makes rows of episodes, in any process: what it remembers stays where it is."""

    def __init__(self) -> None:
        self._packer = Packer()

    def __reduce__(self) -> tuple[type["Preparing"], tuple[()]]:
        return (Preparing, ())

    def __call__(self, episodes: Sequence[Episode]) -> Prepared:
        """Return the rows of a batch."""
        rows: list[EpisodeRows] = []
        refused: list[str] = []
        for episode in episodes:
            try:
                rows.append(self._packer.pack(episode))
            except (ValueError, OverflowError, TypeError) as error:
                refused.append(f"episode {episode.id} cannot be recorded: {error}")
        seatings = {one.episode.seating: one.seats for one in rows}
        agents = {seat[-1] for seats in seatings.values() for seat in seats}
        known = self._packer.specs
        return Prepared(rows, {name: known[name] for name in sorted(agents)}, refused)


class BatchWriter:
    """Writes batches over a connection of its own; used by one thread at a time.

    Args:
        path: the database.
        stage: id of the stage that plays; empty outside any stage.
    """

    def __init__(self, path: Path, stage: str) -> None:
        self._database = Database(path)
        watch(self._database)
        self._stage = stage or None
        self._preparing = Preparing()

    def write(self, episodes: Sequence[Episode]) -> list[str]:
        """Write a batch, all or nothing; an episode that is stored already is skipped.

        Returns:
            What cannot be recorded, and why: the rest of the batch is written.

        Raises:
            RecordFull: nothing of this batch is kept; it can be written again.
        """
        return self.insert(self._preparing(episodes))

    def insert(self, batch: Prepared) -> list[str]:
        """Write a batch that was prepared, as `write`."""
        try:
            self._insert(batch.rows, batch.specs)
        except sqlite3.IntegrityError:
            new, twice = self._without_stored(batch.rows)
            self._insert(new, batch.specs)
            return batch.refused + twice
        return batch.refused

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _insert(self, packed: list[EpisodeRows], specs: Mapping[str, AgentSpec]) -> None:
        stage = (self._stage,)
        seatings = {rows.episode.seating: rows.seats for rows in packed}
        seated = [
            (name, place, *seat)
            for name, seats in seatings.items()
            for place, seat in enumerate(seats)
        ]
        agents = [
            (name, to_json(specs[name]).decode())
            for name in sorted({seat[-1] for seat in seated})
        ]
        rules = {rows.episode.rules: rows.rules for rows in packed}
        # What is known already is named again: a stage that was taken back may have been
        # the only one that it came from.
        with self._database.transaction() as connection:
            insert(connection, _AGENTS, agents)
            insert(connection, _SEATINGS, seated)
            insert(connection, _RULES, rules.items())
            insert(connection, _EPISODES, [rows.episode + stage for rows in packed])

    def _without_stored(
        self, packed: list[EpisodeRows]
    ) -> tuple[list[EpisodeRows], list[str]]:
        """Return the episodes that are new, and complaints about other ones of a used name."""
        hashes: dict[str, str] = {}
        new: list[EpisodeRows] = []
        refused: list[str] = []
        for rows in packed:
            name, content = rows.episode.id, rows.episode.hash
            stored = hashes.get(name) or self._database.value(
                "SELECT hash FROM episodes WHERE id = ?", (name,)
            )
            hashes[name] = content
            if stored is None:
                new.append(rows)
            elif stored != content:
                refused.append(
                    f"an episode called {name} with other content is stored already; "
                    "give this stage a key of its own (run, generation, round)"
                )
        return new, refused


def insert(connection: sqlite3.Connection, statement: str, rows: Iterable[Row]) -> None:
    """Insert rows, many with one statement.

    `executemany` would take and give back the interpreter's lock for every row: beside a
    busy loop each row then waits for a thread switch, 5 ms. Here SQLite inserts hundreds
    of rows while the loop goes on.

    Args:
        connection: in a transaction.
        statement: ``INSERT … VALUES (?,?)``.
        rows: one value per question mark.
    """
    waiting = list(rows)
    head, _, marks = statement.rpartition(" VALUES ")
    most = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // marks.count("?")
    done = 0
    for size in _ROWS_AT_ONCE:
        if size > most:
            continue
        many = f"{head} VALUES {','.join([marks] * size)}"
        while len(waiting) - done >= size:
            connection.execute(many, list(chain.from_iterable(waiting[done : done + size])))
            done += size
