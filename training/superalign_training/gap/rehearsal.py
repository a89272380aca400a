"""Controllers on chains of the surrogate: what they visit, and what it was worth there."""

from collections.abc import Sequence
from typing import NamedTuple

from superalign_training.gap.chain_env import ChainModel
from superalign_training.gap.controller import GapController
from superalign_training.gap.sight import Sight
from superalign_training.gap.surrogate import Surrogate


class Rehearsed(NamedTuple):
    """One chain under one controller."""

    worth: float
    """In the end; see `ChainModel.worth`."""
    sights: tuple[Sight, ...]


def raise_chain(controller: GapController, model: ChainModel, *, seed: int) -> Rehearsed:
    """Raise one whole chain.

    Args:
        controller: chooses every gap.
        model: begins another chain.
        seed: of the chain.
    """
    model.reset(seed)
    sights: list[Sight] = []
    for _ in range(model.generations):
        level = controller.choose(
            sights, levels=model.levels, generations=model.generations
        )
        sights.append(model.play(level))
    return Rehearsed(model.worth(), tuple(sights))


class Score(NamedTuple):
    """Of a controller over many chains."""

    following: float
    """Mean worth where queries follow the student."""
    fixed: float
    """Mean worth where they do not."""
    rolled_back: float
    """Share of generations that the gate refused."""


def rehearse(controller: GapController, seeds: Sequence[int]) -> Score:
    """Return what a controller is worth on the surrogate; the same seeds, the same chains."""
    model, refused, raised = Surrogate(), 0, 0
    worth: dict[bool, list[float]] = {True: [], False: []}
    for seed in seeds:
        chain = raise_chain(controller, model, seed=seed)
        worth[model.nature.following].append(chain.worth)
        refused += sum(not sight.accepted for sight in chain.sights)
        raised += len(chain.sights)
    return Score(_mean(worth[True]), _mean(worth[False]), refused / max(raised, 1))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
