"""Micro-batches: as many rows at a time as fit into memory, halved when it runs out."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch

from superalign_env.errors import OutOfMemory
from superalign_env.plain_text import inline

T = TypeVar("T")


class MicroBatch:
    """Rows that go through a model at once; halved when memory runs out.

    Args:
        size: rows at first; None is all of them.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size
        self._warned = False

    def over(
        self,
        rows: int,
        work: Callable[[torch.Tensor], T],
        *,
        restart: Callable[[], object] = lambda: None,
    ) -> list[T]:
        """Apply a function to all rows, some at a time, and return its results.

        Args:
            rows: how many there are.
            work: gets the places of some of them.
            restart: undoes what was done to earlier pieces, when all are done again in
                smaller ones.

        Raises:
            OutOfMemory: a single row does not fit into memory.
        """
        while True:
            size = min(self.size or rows, rows)
            try:
                return [work(piece) for piece in torch.split(torch.arange(rows), size)]
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error)
            # Outside of the handler: the error would hold on to what must be freed.
            restart()
            self._halve(size, reason)

    def _halve(self, size: int, reason: str) -> None:
        if size == 1:
            raise OutOfMemory(
                f"a single row does not fit into memory ({reason}); shorten prompts and "
                "replies, train adapters (LoRA), or take a smaller model or a larger device"
            )
        self.size = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not self._warned:
            self._warned = True
            warnings.warn(
                inline(
                    f"{size} rows at once do not fit into memory; going on with {self.size} or "
                    f"fewer (same result; set micro_batch_size={self.size} to start with that)"
                ),
                RuntimeWarning,
                stacklevel=2,
            )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    # On a CPU there is no class for it.
    return "DefaultCPUAllocator: can't allocate memory" in str(error)
