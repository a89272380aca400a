"""Training rows as tensors: prompts end where completions begin."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from superalign_training.data import Row
from superalign_training.policy import Policy


class Batch(NamedTuple):
    """Some rows. Shapes: B rows, P longest prompt, C longest completion."""

    ids: torch.Tensor
    """[B, P + C] prompts padded on the left, completions on the right."""
    attention_mask: torch.Tensor
    """[B, P + C] 1 where a token is real."""
    loss_mask: torch.Tensor
    """[B, C] 1.0 at the policy's own tokens."""

    @property
    def width(self) -> int:
        """How many positions a completion has (C)."""
        return self.loss_mask.shape[1]

    @property
    def completions(self) -> torch.Tensor:
        """[B, C] tokens of the completions."""
        return self.ids[:, -self.width :]

    def rows(self, index: torch.Tensor) -> "Batch":
        """Return the rows with the given places."""
        return Batch(*[tensor[index] for tensor in self])

    def spread(self, values: Sequence[Sequence[float]]) -> torch.Tensor:
        """Return a list of numbers for every row as [B, C] float32, 0 after its end."""
        tensor = torch.zeros((len(values), self.width))
        for place, row in enumerate(values):
            tensor[place, : len(row)] = torch.tensor(row)
        return tensor.to(self.ids.device)


def batch_of(policy: Policy, rows: Sequence[Row]) -> Batch:
    """Return rows as tensors on a policy's device.

    Args:
        policy: whose tokens they are.
        rows: with prompts and completions of at least one token.
    """
    filler = int(policy.tokenizer.pad_token_id or 0)
    return pad(rows, filler=filler, device=policy.model.device)


def pad(rows: Sequence[Row], *, filler: int, device: torch.device) -> Batch:
    """Return rows as tensors, the id `filler` where nothing is."""
    before = max(len(row.prompt_ids) for row in rows)
    after = max(len(row.completion_ids) for row in rows)
    ids = torch.full((len(rows), before + after), filler)
    attended = torch.zeros((len(rows), before + after), dtype=torch.long)
    own = torch.zeros((len(rows), after))
    for place, row in enumerate(rows):
        begin, end = before - len(row.prompt_ids), before + len(row.completion_ids)
        ids[place, begin:end] = torch.tensor(row.prompt_ids + row.completion_ids)
        attended[place, begin:end] = 1
        own[place, : len(row.env_mask)] = torch.tensor(row.env_mask, dtype=torch.float32)
    return Batch(ids.to(device), attended.to(device), own.to(device))
