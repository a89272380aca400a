"""The sink that writes episodes: in batches, each whole or not at all."""

import atexit
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from superalign_env.errors import RecordError
from superalign_env.store.batches import BatchWriter, Prepared, Preparing
from superalign_env.types import Episode

if TYPE_CHECKING:
    from superalign_env.store.run import Run


class EpisodeWriter:
    """Takes finished episodes and writes them, a batch in one transaction.

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
        self, run: "Run", *, stage: str = "", batch: int = 64, every: float = 1.0
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
        """Take a batch of finished episodes; they are on disk after `flush` or a second.

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
        """Return what makes rows of episodes, in another process as well as in this one."""
        return Preparing()

    def write_prepared(self, batch: Prepared) -> None:
        """Take a batch of finished episodes whose rows were made elsewhere, as `write`."""
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
        """Raise, once, what went wrong."""
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
        """Write what has waited for too long. Runs in a thread."""
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
