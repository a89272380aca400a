"""Pre-training text as packed batches that any step can ask for directly.

Documents come in blocks that depend on (seed, block) alone, so a resumed run reads what
an uninterrupted one would have read, and all rungs of a seed read the same text.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from superalign_env.seeding import mix

Documents = Callable[[int, int], Sequence[str]]
"""(seed, n) → n documents."""

Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Documents → token ids."""

BLOCK_STEPS = 32
"""Steps whose documents are generated together."""


class Batch(NamedTuple):
    """R packed rows of L tokens."""

    ids: torch.Tensor
    """[R, L]"""
    positions: torch.Tensor
    """[R, L] position inside the token's own document."""
    mask: torch.Tensor
    """[R, 1, L, L] True where a token may look: its own document, not ahead."""
    targets: torch.Tensor
    """[R, L] the next token of the document, −100 where there is none."""
    weights: torch.Tensor
    """[R, L] how much the prediction of the target counts."""


class Emphasis(NamedTuple):
    """Which tokens of a document count more."""

    after: tuple[int, ...]
    """They lie behind the first of these token ids, to the document's end."""
    weight: float


class Batches:
    """Packed batches of a stream of documents, by step.

    Args:
        documents: makes text from a seed; blocks get seeds of their own.
        encode: turns text into token ids.
        seed: of the stream.
        size: documents in a batch.
        longest: documents are cut to so many tokens, which is also the row length.
        emphasis: tokens that count more; None for none.
    """

    def __init__(
        self,
        documents: Documents,
        encode: Encode,
        *,
        seed: int,
        size: int,
        longest: int,
        emphasis: Emphasis | None = None,
    ) -> None:
        self.size = size
        self.emphasis = emphasis
        self.longest = longest

        @lru_cache(maxsize=2)
        def block(number: int) -> list[list[int]]:
            texts = documents(mix(seed, number), size * BLOCK_STEPS)
            return [list(ids[:longest]) for ids in encode(texts)]

        self._block = block

    def at(self, step: int) -> Batch:
        """Return the batch of a step."""
        number, offset = divmod(step, BLOCK_STEPS)
        documents = self._block(number)[offset * self.size : (offset + 1) * self.size]
        return pack(documents, longest=self.longest, emphasis=self.emphasis)


def pack(
    documents: Sequence[Sequence[int]], *, longest: int, emphasis: Emphasis | None = None
) -> Batch:
    """Lay documents into as few rows as first-fit-decreasing finds.

    Documents of one row do not see each other, so packing changes nothing but speed.
    """
    rows = _fit(documents, longest)
    width = max(sum(len(document) for document in row) for row in rows)
    shape = (len(rows), width)
    ids, positions = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    owner, targets = np.full(shape, -1), np.full(shape, -100)
    weights = np.ones(shape, dtype=np.float32)
    for row, packed in enumerate(rows):
        start = 0
        for number, document in enumerate(packed):
            end = start + len(document)
            ids[row, start:end] = document
            owner[row, start:end] = number
            positions[row, start:end] = np.arange(len(document))
            targets[row, start : end - 1] = document[1:]
            if emphasis is not None:
                place = _first(document, emphasis.after)
                weights[row, start + place : end] = emphasis.weight
            start = end
    mask = (owner[:, None, :, None] == owner[:, None, None, :]) & np.tri(width, dtype=bool)
    arrays = (ids, positions, mask, targets, weights)
    return Batch(*(torch.from_numpy(array) for array in arrays))


def _first(document: Sequence[int], wanted: tuple[int, ...]) -> int:
    """Return the place of the first wanted token, or the length where there is none."""
    return next((i for i, token in enumerate(document) if token in wanted), len(document))


def _fit(documents: Sequence[Sequence[int]], longest: int) -> list[list[Sequence[int]]]:
    """Return rows of documents that fit into `longest` tokens each."""
    rows: list[list[Sequence[int]]] = []
    room: list[int] = []
    for document in sorted(documents, key=len, reverse=True):
        place = next((r for r, left in enumerate(room) if left >= len(document)), None)
        if place is None:
            rows.append([])
            room.append(longest)
            place = len(rows) - 1
        rows[place].append(document)
        room[place] -= len(document)
    return rows
