"""Delivery of finished episodes to sinks, in batches, and progress reports."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.protocols import EpisodeSink, PreparingSink
from superalign_env.types import Episode


class Outbox:
    """Buffer that writes to sinks after so many episodes or seconds.

    Args:
        sinks: get every batch, in order.
        size: episodes of a batch.
        seconds: after so long a smaller batch is written.

    Raises:
        InvalidOption: what cannot be written to.
    """

    def __init__(
        self, sinks: Sequence[EpisodeSink], *, size: int = 64, seconds: float = 2.0
    ) -> None:
        for sink in sinks:
            if not callable(getattr(sink, "write", None)):
                raise InvalidOption(f"{sink!r} is no sink; a sink has write(episodes)")
        self._sinks = tuple(sinks)
        self._size = size
        self._seconds = seconds
        self._batch: list[Episode] = []
        self._written = time.monotonic()

    def put(self, episodes: Sequence[Episode]) -> None:
        """Add episodes. A sink that fails keeps none from the others."""
        if not self._sinks:
            return
        self._batch += episodes
        late = time.monotonic() - self._written > self._seconds
        self._empty(down_to=1 if late else self._size)

    def flush(self) -> None:
        """Write all buffered episodes."""
        self._empty(down_to=1)

    def _empty(self, *, down_to: int) -> None:
        errors: list[Exception] = []
        while len(self._batch) >= down_to:
            batch = self._batch[: self._size]
            del self._batch[: self._size]
            errors += _failures([partial(sink.write, batch) for sink in self._sinks])
            self._written = time.monotonic()
        _complain(errors)


def hand_over(sinks: Sequence[PreparingSink], batches: Sequence[Any]) -> None:
    """Write prepared batches, one to each sink; one that fails keeps nothing from others."""
    pairs = zip(sinks, batches, strict=True)
    _complain(_failures([partial(sink.write_prepared, batch) for sink, batch in pairs]))


def _failures(calls: Sequence[Callable[[], None]]) -> list[Exception]:
    """Call everything, and return the exceptions."""
    errors: list[Exception] = []
    for call in calls:
        try:
            call()
        except Exception as error:  # raised by `_complain`, once every sink was served
            errors.append(error)
    return errors


def _complain(errors: Sequence[Exception]) -> None:
    if errors:
        raise errors[0]


OnProgress = Callable[[int, int], object]
"""Called with (episodes done, episodes in all)."""


@contextmanager
def reporting(progress: bool | OnProgress | None, total: int) -> Iterator[OnProgress]:
    """Yield a callback of (done, total), called after every episode.

    Args:
        progress: a function; or True for a bar in the terminal; or nothing.
        total: episodes in all.
    """
    if callable(progress):
        yield progress
    elif progress:
        # Rich takes a tenth of a second to import: paid by those who want a bar.
        from rich.progress import Progress  # noqa: PLC0415

        with Progress() as bar:
            task = bar.add_task("episodes", total=total)
            yield lambda done, _total: bar.update(task, completed=done)
    else:
        yield lambda _done, _total: None
