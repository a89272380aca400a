"""How many rows fit into memory at once, found out by trying."""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from superalign_env.errors import OutOfMemory

In = TypeVar("In")
Out = TypeVar("Out")


class Room:
    """Shares rows out into batches; where one does not fit, all later ones are smaller.

    Args:
        batch: largest number of rows at once.
        who: named in warnings.
    """

    def __init__(self, batch: int, *, who: str) -> None:
        self.batch = batch
        self._who = who
        self._warned = False

    def share_out(
        self, rows: Sequence[In], work: Callable[[Sequence[In]], list[Out]]
    ) -> list[Out]:
        """Return what `work` makes of all rows, in order.

        Args:
            rows: any number.
            work: takes up to `batch` rows at once and depends on nothing but them.

        Raises:
            OutOfMemory: a single row does not fit.
        """
        done: list[Out] = []
        while len(done) < len(rows):
            some = rows[len(done) : len(done) + self.batch]
            made = _unless_full(work, some)
            if made is None:
                self._shrink(len(some))
            else:
                done += made
        return done

    def _shrink(self, rows: int) -> None:
        """Halve the batch, and say so the first time."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if rows == 1:
            raise OutOfMemory(
                f"{self._who} has no memory for a single prompt; lower max_context or "
                "max_new_tokens, take a smaller dtype (bfloat16), or a smaller model"
            )
        self.batch = rows // 2
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{self._who} ran out of memory with {rows} prompts at once and goes on with "
                f"{self.batch} or fewer; its replies stay the same. Set batch={self.batch} "
                "to save the attempt",
                RuntimeWarning,
                stacklevel=4,
            )


def _unless_full(
    work: Callable[[Sequence[In]], list[Out]], rows: Sequence[In]
) -> list[Out] | None:
    """Return what `work` makes of rows, or None where memory runs out.

    The error ends here: its traceback would keep the tensors alive that were too many.
    """
    try:
        return work(rows)
    except RuntimeError as error:
        if not _is_full(error):
            raise
        return None


def _is_full(error: RuntimeError) -> bool:
    """Whether an accelerator or the CPU's allocator had no memory left."""
    return isinstance(
        error, torch.OutOfMemoryError
    ) or "DefaultCPUAllocator: can't allocate memory" in str(error)
