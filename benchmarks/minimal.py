"""The least that can be called a scenario: what is measured with it is the environment."""

from typing import Any

import numpy as np

from superalign_env.types import (
    Brief,
    Ending,
    Gold,
    Grade,
    Reward,
    Role,
    Seat,
    Split,
    Step,
    Task,
    Utterance,
)

_BRIEF = Brief("say a word")


class OneTask:
    """A source of one task."""

    id = "one-task"
    task = Task("only", "nothing", "say a word")

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Return the task."""
        return self.task

    def gold(self, task: Task) -> Gold:
        """There is nothing to know."""
        return Gold()

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Nothing is graded."""
        return ()

    def parse(self, text: str, split: Split) -> Task | None:
        """Return the task if that is its prompt."""
        return self.task if text == self.task.prompt else None

    def menu(self, task: Task) -> tuple[str, ...]:
        """There is nothing to choose from."""
        return ()

    def answers(self, task: Task) -> tuple[str, ...]:
        """There is nothing to choose from."""
        return ()


class Minimal:
    """Two seats speak at once; the first is paid for the longer word, the other loses.

    As rock-paper-scissors does, it compares two moves a number of times; its state is
    the number of times.

    Args:
        cycles: how often both speak.
    """

    id = "minimal-v0"
    seats: tuple[Seat, ...] = ("player_0", "player_1")
    renderer_id = "none"
    max_utterance = 1000

    def __init__(self, cycles: int) -> None:
        self.source = OneTask()
        self.weights: dict[Role, dict[str, float]] = {"player": {"length": 1.0}}
        self.options: dict[str, Any] = {"cycles": cycles}
        self._cycles = cycles

    def draw(self, rng: np.random.Generator) -> Task:
        """Return the task."""
        return self.source.task

    def reset(self, task: Task, rng: np.random.Generator) -> int:
        """Nothing was said yet."""
        return 0

    def arm(self, state: int) -> str:
        """There is only one arm."""
        return ""

    def to_move(self, state: int) -> tuple[Seat, ...]:
        """Return both seats, always."""
        return self.seats

    def view(self, state: int, seat: Seat) -> Brief:
        """Return the same for everybody."""
        return _BRIEF

    def apply(self, state: int, utterances: tuple[Utterance, ...]) -> Step:
        """Compare what was said, and count."""
        first, second = utterances
        lead = len(first.text) - len(second.text)
        rewards = (
            (Reward("player_0", "length", lead), Reward("player_1", "length", -lead))
            if lead
            else ()
        )
        state += 1
        return Step(state, rewards, (), (), _OVER if state >= self._cycles else None)


_OVER = Ending.terminated()
