"""The sink that writes episodes: in batches, beside the loop, each batch whole or not at all."""

import atexit
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from superalign_env.errors import RecordError
from superalign_env.store.batches import BatchWriter
from superalign_env.types import Episode

if TYPE_CHECKING:
    from superalign_env.store.run import Run

_BATCHES_AHEAD = 16
"""How far the loop may run ahead of the disk."""


class EpisodeWriter:
    """Takes finished episodes and writes them from a thread of its own.

    The loop that plays waits only when it is many batches ahead of the disk. Whatever
    was handed over more than ``every`` seconds ago is on disk, also after a kill. After
    an error the episodes wait here: `flush` tries again.

    Args:
        run: opened for writing.
        stage: id of the stage that plays; empty for episodes outside any stage.
        batch: episodes in one transaction.
        every: seconds after which an unfinished batch is written.

    Raises:
        RecordError: the run was not opened for work.
    """

    def __init__(
        self, run: "Run", *, stage: str = "", batch: int = 256, every: float = 1.0
    ) -> None:
        run.require_work()
        self._run = run
        self._batch, self._every = batch, every
        self._batches = BatchWriter(run.path / "run.db", stage)
        self._inbox: list[Episode] = []
        self._changed = threading.Condition()
        self._hurry = self._closing = self._writing = self._stuck = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(
            target=self._work, name="episode-writer", daemon=True
        )
        self._thread.start()
        atexit.register(self.close)
        run.on_close(self.close)

    def write(self, episodes: Sequence[Episode]) -> None:
        """Take a batch of finished episodes; they are on disk after `flush` or a second.

        Raises:
            RecordError: an earlier batch could not be written; this one is kept all the same.
        """
        with self._changed:
            if self._closing:
                raise RecordError("this EpisodeWriter is closed; make another one")
            while len(self._inbox) > _BATCHES_AHEAD * self._batch and self._failure is None:
                self._changed.wait()
            self._inbox.extend(episodes)
            if len(self._inbox) >= self._batch:
                self._changed.notify_all()
        self._complain()

    def flush(self) -> None:
        """Return when everything that was handed over is on disk.

        Raises:
            RecordFull: the disk is full. Free some space and call it again.
            RecordError: something could not be written.
        """
        self._complain()
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_settled)
        self._complain()

    def close(self) -> None:
        """Flush and end the thread; twice does no harm.

        Raises:
            RecordError: something could not be written.
        """
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
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
        """Raise, once, what went wrong in the thread."""
        with self._changed:
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _is_settled(self) -> bool:
        return self._failure is not None or not (self._inbox or self._writing)

    def _is_due(self) -> bool:
        if self._closing:
            return True
        full = self._hurry or len(self._inbox) >= self._batch
        return full and self._failure is None

    def _work(self) -> None:
        while True:
            with self._changed:
                # Not `|=`: it would read the flag before the wait and undo a flush.
                if not self._changed.wait_for(self._is_due, timeout=self._every):
                    # After a quiet second whatever is there goes to disk.
                    self._hurry = True
                taken = self._take()
            failure = self._written(taken) if taken else None
            with self._changed:
                self._failure = failure or self._failure
                self._writing = False
                self._changed.notify_all()
                if self._closing and (self._stuck or not self._inbox):
                    return

    def _take(self) -> list[Episode]:
        """Return the next batch; nothing while an error waits to be told."""
        if self._failure is not None and not self._closing:
            return []
        taken, self._inbox = self._inbox[: self._batch], self._inbox[self._batch :]
        self._hurry &= bool(self._inbox)
        self._writing = bool(taken)
        return taken

    def _written(self, taken: list[Episode]) -> Exception | None:
        """Write what was taken, or put it back; return what went wrong."""
        try:
            refused = self._batches.write(taken)
            self._stuck = False
        except Exception as error:  # whatever it is must reach the thread that plays
            with self._changed:
                self._inbox = taken + self._inbox
                self._stuck = True
            return error
        if refused:
            more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
            return RecordError(refused[0] + more)
        return None
