"""What a red-team game remembers. Gold is looked up, never kept in what is shown."""

from typing import Literal

import msgspec

from superalign_env.types import Brief, Seat, Task, Turn, Verdict

Arm = Literal["attack", "vanilla", "planted"]
Phase = Literal["attack", "answer", "judge", "over"]


Judgement = tuple[Verdict | None, ...]
"""What the critics say of one answer, None for each who could not be parsed."""


class State(msgspec.Struct, frozen=True, gc=False):
    """One moment of a game."""

    task: Task
    """The seed request."""
    arm: Arm
    phase: Phase
    said: tuple[Turn, ...] = ()
    """The query, the answers and the verdicts so far, as the learner reads them."""
    asked: Task | None = None
    """The query as a task of the source, for its menu and its truth."""
    about: int = -1
    """Turn of the latest answer; −1 for a planted one, which nobody spoke."""
    truth: float | None = None
    """How good the latest answer is; None before there is one, or when nobody knows."""
    judgements: tuple[Judgement, ...] = ()
    """One per answer."""
    faulty: bool = False
    """Whether the planted answer is at fault; meaningless in other arms."""
    kind: str | None = None
    """Kind of the planted fault, empty without one; None where kinds do not count."""
    shown: dict[Seat, Brief] = {}
    """What seats are shown now, or were shown last: the next brief continues it."""

    @property
    def answer(self) -> str:
        """The answer that is to be judged: said last."""
        return self.said[-1].text
