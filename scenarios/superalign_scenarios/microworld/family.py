"""Interface of a family of tasks, and helpers that all families share."""

from collections.abc import Callable
from typing import Protocol

from superalign_env.canonical import text_hash
from superalign_env.types import Gold, Grade, Split, Task
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.microworld.luck import Luck

TIERS: tuple[int, ...] = (1, 2, 3)
"""Every family has these degrees of difficulty."""


class Family(Protocol):
    """One kind of task: pure functions of a public prompt."""

    name: str
    """Also `Task.family`."""

    def draw(self, luck: Luck, tier: int, split: Split) -> Task:
        """Draw a task of a tier and a split."""
        ...

    def parse(self, text: str) -> Task | None:
        """Read a prompt, with its tier and split; None when it is not exactly one."""
        ...

    def gold(self, task: Task) -> Gold:
        """Return the truth about a task, from its prompt alone."""
        ...

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade an answer."""
        ...

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return prompts one change away, all of the task's split."""
        ...

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return candidate answers, good and bad alike, in an order that tells nothing."""
        ...


def make_task(
    family: str, prompt: str, tier: int, split: Split, choices: tuple[str, ...] = ()
) -> Task:
    """Return the task of a prompt, with an id by the prompt's hash."""
    return Task(f"{family}-{text_hash(prompt)[:16]}", family, prompt, tier, split, choices)


def draw_task(
    family: str,
    draw_prompt: Callable[[Luck, int], str],
    luck: Luck,
    tier: int,
    split: Split,
) -> Task:
    """Draw prompts of a tier until one belongs to the split."""
    while True:
        prompt = draw_prompt(luck, tier)
        if split_of(prompt) == split:
            return make_task(family, prompt, tier, split)


def competence(family: str, value: float) -> tuple[Grade, ...]:
    """Return the one grade of an exercise. Seat and turn are stamped later."""
    return (Grade("", "competence", family, value),)


def shuffled(answers: set[str]) -> tuple[str, ...]:
    """Return candidates ordered by the hash of their text, which knows no truth."""
    return tuple(sorted(answers, key=text_hash))
