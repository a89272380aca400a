"""How many bytes a policy takes, before and while it is trained."""

from typing import NamedTuple

import torch


class Memory(NamedTuple):
    """Bytes on the policy's device; activations, which batches decide, come on top."""

    weights: int
    """Of the LM and the value head, those that other policies share not counted."""
    shared: int
    """Weights of a base that lies in memory once for all its adapters."""
    masters: int
    """Float32 copies of trained weights that are narrower."""
    gradients: int
    """Of trained weights, in the numbers in which the optimiser steps."""
    moments: int
    """Adam's two averages for every trained weight."""
    reference: int
    """The frozen original, if it is a copy."""

    @property
    def total(self) -> int:
        """All of it, the shared base included."""
        return sum(self)


def memory_of(
    *,
    parameters: int,
    trained: int,
    head: int = 0,
    dtype: torch.dtype = torch.float32,
    adapter: bool = False,
    reference: bool = False,
) -> Memory:
    """Return what a policy takes while it is trained.

    Args:
        parameters: all weights of the model as it is used, the trained ones included.
        trained: those that are trained.
        head: weights of the value head on top, in float32.
        dtype: of the model; an adapter's weights are float32 at least, as peft has it.
        adapter: whether only an adapter is trained; its reference then costs nothing.
        reference: whether the untrained original is wanted too.
    """
    wide = max(dtype.itemsize, 4)
    narrow = dtype.itemsize < wide and not adapter
    rest = (parameters - trained) * dtype.itemsize
    stepped = trained * wide + head * 4
    own = trained * dtype.itemsize + head * 4 if narrow else stepped
    return Memory(
        weights=own + (0 if adapter else rest),
        shared=rest if adapter else 0,
        masters=trained * wide if narrow else 0,
        gradients=stepped,
        moments=2 * stepped,
        reference=parameters * dtype.itemsize if reference and not adapter else 0,
    )
