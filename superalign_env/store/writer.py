"""The sink that writes episodes: in batches, each whole or not at all."""

import atexit
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from superalign_env.canonical import to_json
from superalign_env.errors import RecordError
from superalign_env.store import row_hashes
from superalign_env.store.database import Database, Row
from superalign_env.store.run import Run
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
    """Episodes as rows, ready to be inserted."""

    rows: list[EpisodeRows]
    specs: dict[str, AgentSpec]
    """Who sits in them, by content hash."""
    refused: list[str]
    """What cannot be recorded, and why."""


class Preparing:
    """Encoder of episodes as rows, usable in any process; its caches do not travel."""

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
        specs = self._packer.specs
        return Prepared(rows, {name: specs[name] for name in sorted(agents)}, refused)


class BatchWriter:
    """Writer of batches over a connection of its own; used by one thread at a time.

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
            named = (self._stage or "", "episodes")
            hashes = [(*named, rows.episode.id, rows.episode.hash) for rows in packed]
            insert(connection, row_hashes.EPISODES, hashes)

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


class EpisodeWriter:
    """Sink that writes finished episodes, a batch in one transaction.

    Whoever hands over the episode that completes a batch writes it: 10 µs a turn. A
    thread of its own would have to fight the loop that plays for the interpreter, which
    costs both more than the disk does. A small batch is written while its episodes still
    lie in the processor's cache. There is a thread for quiet times only: whatever was
    handed over more than ``every`` seconds ago is on disk, also after a kill. After an
    error the episodes wait here: `flush` tries again.

    Args:
        run: opened for writing.
        stage: id of the stage that plays; empty for episodes outside any stage.
        batch: episodes in one transaction.
        every: seconds after which an unfinished batch is written.

    Raises:
        RecordError: the run was not opened for work.
    """

    def __init__(
        self, run: Run, *, stage: str = "", batch: int = 64, every: float = 1.0
    ) -> None:
        run.require_work()
        self._run = run
        self._batch, self._every = batch, every
        self._batches = BatchWriter(run.path / "run.db", stage)
        self._inbox: list[Episode] = []
        self._prepared: list[Prepared] = []
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._written = time.monotonic()
        self._failure: Exception | None = None
        self._thread = threading.Thread(
            target=self._tidy, name="episode-writer", daemon=True
        )
        self._thread.start()
        atexit.register(self.close)
        run.on_close(self.close)

    def write(self, episodes: Sequence[Episode]) -> None:
        """Add a batch of finished episodes; they are on disk after `flush` or a second.

        Raises:
            RecordError: an earlier batch could not be written; this one is kept all the same.
        """
        with self._lock:
            if self._closing.is_set():
                raise RecordError("this EpisodeWriter is closed; make another one")
            self._inbox.extend(episodes)
            self._complain()
            self._empty(down_to=self._batch)

    def preparing(self) -> Preparing:
        """Return an encoder of episodes as rows, for this process or another."""
        return Preparing()

    def write_prepared(self, batch: Prepared) -> None:
        """Add a batch whose rows were made elsewhere, as `write`."""
        with self._lock:
            if self._closing.is_set():
                raise RecordError("this EpisodeWriter is closed; make another one")
            self._prepared.append(batch)
            self._complain()
            self._empty(down_to=self._batch)

    def flush(self) -> None:
        """Return when everything that was handed over is on disk.

        Raises:
            RecordFull: the disk is full. Free some space and call it again.
            RecordError: something could not be written.
        """
        with self._lock:
            self._complain()
            self._empty()
            self._complain()

    def close(self) -> None:
        """Flush and end the thread; twice does no harm.

        Raises:
            RecordError: something could not be written.
        """
        with self._lock:
            if self._closing.is_set():
                return
            # Closed only then: after an interrupt it can be closed again.
            self._empty()
            self._closing.set()
        self._thread.join()
        self._batches.close()
        atexit.unregister(self.close)
        self._run.on_close(self.close, forget=True)
        self._complain()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _complain(self) -> None:
        """Raise the pending failure, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _empty(self, down_to: int = 1) -> None:
        """Write batch after batch while there are so many episodes; stop at an error."""
        while self._prepared or len(self._inbox) >= down_to:
            try:
                refused = self._write_next()
            except Exception as error:  # whatever it is must reach who plays
                self._failure = error
                return
            self._written = time.monotonic()
            if refused:
                more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
                self._failure = RecordError(refused[0] + more)

    def _write_next(self) -> list[str]:
        # What is written leaves only then: an interrupt must not lose what it kept from
        # the disk.
        if self._prepared:
            refused = self._batches.insert(self._prepared[0])
            del self._prepared[0]
        else:
            batch = self._inbox[: self._batch]
            refused = self._batches.write(batch)
            del self._inbox[: len(batch)]
        return refused

    def _tidy(self) -> None:
        """Write episodes that have waited for too long. Runs in a thread."""
        wait = self._every
        while not self._closing.wait(wait):
            with self._lock:
                wait = self._written + self._every - time.monotonic()
                if wait > 0:
                    continue
                wait = self._every
                # While an error waits to be told, nothing is tried again.
                if self._failure is None:
                    self._empty()
