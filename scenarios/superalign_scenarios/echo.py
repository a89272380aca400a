"""`echo`: two seats speak at once, and hear each other a cycle later.

Each speaker is paid (part ``echo``) for repeating what the other said a cycle before. There
is no truth to hide, and nothing is declared. The smallest scenario: the one to copy, and the
one that conformance tests step through.
"""

from typing import Any

import msgspec
import numpy as np

from superalign_env.errors import InvalidOption
from superalign_env.plain_text import fence
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


class Words:
    """Task source with one word per task, and no truth to hide."""

    id = "words-1"
    _words = ("river", "stone", "lamp", "cloud", "bread", "door", "seed", "rope")

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Draw a word."""
        word = self._words[int(rng.integers(len(self._words)))]
        return Task(f"word:{word}", "words", word, split=split)

    def gold(self, task: Task) -> Gold:
        """Return the word itself."""
        return Gold(task.prompt)

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Nothing is graded."""
        return ()

    def parse(self, text: str, split: Split) -> Task | None:
        """Read one of the words."""
        return (
            Task(f"word:{text}", "words", text, split=split)
            if text in self._words
            else None
        )

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return the other words."""
        return tuple([word for word in self._words if word != task.prompt])

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return the words."""
        return self._words


class EchoState(msgspec.Struct, frozen=True):
    """The word, how often both have spoken, and what was said last."""

    task: Task
    cycle: int = 0
    last: tuple[str, ...] = ("", "")


class Echo:
    """Each seat earns by saying what the other one said a cycle before.

    Args:
        max_cycles: how often both speak.
        max_utterance: longest utterance, in characters.
        split: of the words; each split has all of them.
    """

    id = "echo-v0"
    seats: tuple[Seat, ...] = ("speaker_0", "speaker_1")
    renderer_id = "echo-1"

    def __init__(
        self, *, max_cycles: int = 8, max_utterance: int = 1024, split: Split = "train"
    ) -> None:
        if max_cycles < 1:
            raise InvalidOption(f"max_cycles must be at least 1, not {max_cycles}")
        self.max_cycles = max_cycles
        self.max_utterance = max_utterance
        self.split: Split = split
        self.source = Words()
        self.weights: dict[Role, dict[str, float]] = {
            "speaker": {"echo": 1.0, "format": 1.0}
        }
        self.options: dict[str, Any] = {
            "max_cycles": max_cycles,
            "max_utterance": max_utterance,
            "split": split,
        }

    def draw(self, rng: np.random.Generator) -> Task:
        """Draw a word."""
        return self.source.draw(rng, self.split)

    def reset(self, task: Task, rng: np.random.Generator) -> EchoState:
        """Both have heard the word."""
        return EchoState(task, 0, (task.prompt, task.prompt))

    def arm(self, state: EchoState) -> str:
        """There is only one arm."""
        return ""

    def to_move(self, state: EchoState) -> tuple[Seat, ...]:
        """Return both seats until the last cycle."""
        return () if state.cycle >= self.max_cycles else self.seats

    def view(self, state: EchoState, seat: Seat) -> Brief:
        """Return what the other seat said."""
        return Brief(state.last[1 - self.seats.index(seat)])

    def apply(self, state: EchoState, utterances: tuple[Utterance, ...]) -> Step:
        """Pay each seat that echoed the other."""
        first, second = utterances
        # What one seat says is a text to the other, never a role marker.
        texts = fence(first.text), fence(second.text)
        rewards = (
            Reward(first.seat, "echo", float(texts[0] == state.last[1])),
            Reward(second.seat, "echo", float(texts[1] == state.last[0])),
        )
        cycle = state.cycle + 1
        ending = Ending.terminated() if cycle >= self.max_cycles else None
        return Step(EchoState(state.task, cycle, texts), rewards, ending=ending)
