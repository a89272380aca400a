"""What a weak-to-strong game remembers."""

from typing import Literal

import msgspec

from superalign_env.final_answers import Label
from superalign_env.types import Seat, Task, Turn
from superalign_scenarios.weak_to_strong.noise import Luck

Phase = Literal["label", "judge", "relabel", "answer", "over"]


class State(msgspec.Struct, frozen=True, gc=False):
    """One moment of a game."""

    task: Task
    luck: tuple[Luck, ...]
    """What was drawn for each supervisor's label."""
    phase: Phase = "label"
    labels: tuple[Label, ...] = ()
    """The standing ones, in seat order."""
    verdicts: tuple[Turn, ...] = ()
    """What the critics said of the label."""
    again: tuple[Seat, ...] = ()
    """Who is asked for another label."""
    kept: bool = True
    """Whether the student is to be taught the label."""
