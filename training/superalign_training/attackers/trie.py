"""Which token may follow which: decoding that cannot leave a set of texts."""

from collections.abc import Iterable, Sequence

import torch


class Trie:
    """All beginnings of some token sequences.

    Args:
        sequences: permitted ones, end-of-sequence token included.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        self._next: list[dict[int, int]] = [{}]
        for sequence in sequences:
            node = 0
            for token in sequence:
                children = self._next[node]
                if token not in children:
                    children[token] = len(self._next)
                    self._next.append({})
                node = children[token]

    root = 0

    def step(self, node: int, token: int) -> int:
        """Return where a permitted token leads."""
        return self._next[node][token]

    def permitted(self, nodes: Sequence[int], vocabulary: int) -> torch.Tensor:
        """Return which tokens may follow: shape [len(nodes), vocabulary], boolean."""
        mask = torch.zeros((len(nodes), vocabulary), dtype=torch.bool)
        for row, node in enumerate(nodes):
            mask[row, list(self._next[node])] = True
        return mask
