"""Batches of rows: padded to one length, and halved where they do not fit into memory."""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from superalign_env.errors import OutOfMemory
from superalign_env.plain_text import inline

In = TypeVar("In")
Out = TypeVar("Out")


class BatchSplitter:
    """Applies a function in batches; where one runs out of memory, all later ones are smaller.

    Args:
        batch_size: largest number of rows at once.
        name: of the model, in warnings.
    """

    def __init__(self, batch_size: int, *, name: str) -> None:
        self.batch_size = batch_size
        self._name = name
        self._warned = False

    def map(
        self, function: Callable[[Sequence[In]], list[Out]], rows: Sequence[In]
    ) -> list[Out]:
        """Return the results of all rows, in order.

        Args:
            function: takes up to `batch_size` rows at once and depends on nothing but them.
            rows: any number.

        Raises:
            OutOfMemory: a single row does not fit.
        """
        results: list[Out] = []
        while len(results) < len(rows):
            batch = rows[len(results) : len(results) + self.batch_size]
            outputs = _unless_out_of_memory(function, batch)
            if outputs is None:
                self._shrink(len(batch))
            else:
                results += outputs
        return results

    def _shrink(self, rows: int) -> None:
        """Halve the batch size, with a warning the first time."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if rows == 1:
            raise OutOfMemory(
                f"{self._name} has no memory for a single prompt; lower max_context or "
                "max_new_tokens, take a smaller dtype (bfloat16), or a smaller model"
            )
        self.batch_size = rows // 2
        if not self._warned:
            self._warned = True
            warnings.warn(
                inline(
                    f"{self._name} ran out of memory with {rows} prompts at once and goes on with "
                    f"{self.batch_size} or fewer; its replies stay the same. Set "
                    f"batch={self.batch_size} to save the attempt"
                ),
                RuntimeWarning,
                stacklevel=4,
            )


def _unless_out_of_memory(
    function: Callable[[Sequence[In]], list[Out]], rows: Sequence[In]
) -> list[Out] | None:
    """Return the results of the rows, or None where memory runs out.

    The error ends here: its traceback would keep the tensors alive that were too many.
    """
    try:
        return function(rows)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an accelerator, the CPU's allocator or Python had no memory left."""
    return isinstance(
        error, (torch.OutOfMemoryError, MemoryError)
    ) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def left_padded(
    sequences: Sequence[Sequence[int]], *, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, [B, T] each, with the padding (0) on the left."""
    width = max(map(len, sequences))
    ids = np.zeros((len(sequences), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = sequence
        mask[row, width - len(sequence) :] = 1
    return torch.as_tensor(ids, device=device), torch.as_tensor(mask, device=device)


def right_padded(
    sequences: Sequence[Sequence[int]],
    *,
    pad_token_id: int = 0,
    device: torch.device | str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, [B, T] each, with the padding on the right."""
    width = max(map(len, sequences))
    ids = np.full((len(sequences), width), pad_token_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return torch.as_tensor(ids, device=device), torch.as_tensor(mask, device=device)


def positions(attention_mask: torch.Tensor) -> torch.Tensor:
    """Return position ids, [B, T]: 0 at the first token of each row.

    Models with absolute positions (GPT-2) count the padding on the left otherwise.

    Args:
        attention_mask: [B, T] 1 or True where there is a token.
    """
    return (attention_mask.long().cumsum(dim=1) - 1).clamp(min=0)
