"""What an episode is about, without its answer."""

from typing import Any, Literal

import msgspec

Split = Literal["train", "control", "gate", "test"]
"""Disjoint by construction: controllers see `control`, gates `gate`; `test` is read once."""

SPLITS: tuple[Split, ...] = ("train", "control", "gate", "test")


class Task(msgspec.Struct, frozen=True, gc=False):
    """A public item. Its gold answer stays with the `TaskSource` that drew it."""

    id: str
    """Unique within its source."""
    family: str
    """Which kind of task: ``arithmetic``, ``requests``, a dataset's name."""
    prompt: str
    """What is asked."""
    tier: int = 1
    """Difficulty, from 1 upwards."""
    split: Split = "train"
    """What it may be used for."""
    choices: tuple[str, ...] = ()
    """The public options of a multiple-choice item or of a preference pair."""
    attributes: dict[str, Any] = {}
    """Other public facts, plain JSON values."""


class Gold(msgspec.Struct, frozen=True, gc=False):
    """Hidden truth of one task. Never in a view, an info or a training row."""

    answer: str = ""
    """The reference answer, or the ideal reply."""
    label: str = ""
    """A class, where truth is one: ``harmful`` or ``benign`` for requests."""
    facts: dict[str, Any] = {}
    """Whatever else the source grades with."""
