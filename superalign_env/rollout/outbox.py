"""Finished episodes on their way to the sinks, in batches."""

import time
from collections.abc import Sequence
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.protocols import EpisodeSink, PreparingSink
from superalign_env.types import Episode


class Outbox:
    """Writes when enough episodes, or enough seconds, have come together.

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
        """Take episodes. A sink that fails keeps no other from what it gets."""
        if not self._sinks:
            return
        self._batch += episodes
        late = time.monotonic() - self._written > self._seconds
        self._empty(down_to=1 if late else self._size)

    def flush(self) -> None:
        """Write what is left."""
        self._empty(down_to=1)

    def _empty(self, *, down_to: int) -> None:
        errors: list[Exception] = []
        while len(self._batch) >= down_to:
            batch = self._batch[: self._size]
            del self._batch[: self._size]
            for sink in self._sinks:
                try:
                    sink.write(batch)
                except Exception as error:  # raised below, once every sink was served
                    errors.append(error)
            self._written = time.monotonic()
        if errors:
            raise errors[0]


def hand_over(sinks: Sequence[PreparingSink], batches: Sequence[Any]) -> None:
    """Give every sink what was prepared for it. One that fails keeps nothing from others."""
    errors: list[Exception] = []
    for sink, batch in zip(sinks, batches, strict=True):
        try:
            sink.write_prepared(batch)
        except Exception as error:  # raised below, once every sink was served
            errors.append(error)
    if errors:
        raise errors[0]
