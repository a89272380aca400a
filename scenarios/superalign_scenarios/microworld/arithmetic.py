"""Arithmetic: a chain of operations from left to right, modulo 10, with written steps.

``calc 3 + 4 * 2`` wants ``3 + 4 = 7 ; 7 * 2 = 4 ans 4``. The tier is the number of
operations. Single operations occur as steps of longer chains: what is held out is the
chain that is asked for.
"""

import re

from superalign_env.types import Gold, Grade, Split, Task
from superalign_scenarios.microworld.family import (
    competence,
    draw_task,
    make_task,
    shuffled,
)
from superalign_scenarios.microworld.heldout import split_of
from superalign_scenarios.microworld.luck import Luck
from superalign_scenarios.microworld.words import DIGITS, OPERATORS

_PROMPT = re.compile(r"calc [0-9](?: [-+*] [0-9]){1,3}")
_ANSWER = re.compile(r"(?:^| )ans ([0-9])$")


def draw_prompt(luck: Luck, tier: int) -> str:
    """Draw a chain of any split."""
    words = ["calc", DIGITS[luck.below(10)]]
    for _ in range(tier):
        words.append(OPERATORS[luck.below(3)])
        words.append(DIGITS[luck.below(10)])
    return " ".join(words)


def worked(prompt: str, slip: int = -1, by: int = 0) -> str:
    """Return the worked answer to a chain.

    Args:
        prompt: ``calc 3 + 4 * 2``.
        slip: which step to get wrong, from 0; later steps go on from the wrong result.
        by: how far the slip is off, 1 to 9.
    """
    _, first, *rest = prompt.split(" ")
    value = int(first)
    steps = []
    for i, (operator, digit) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
        result = _apply(operator, value, int(digit))
        if i == slip:
            result = (result + by) % 10
        steps.append(f"{value} {operator} {digit} = {result}")
        value = result
    return f"{' ; '.join(steps)} ans {value}"


def final(text: str) -> str:
    """Return what an answer says at its end; nothing when it says no answer."""
    match = _ANSWER.search(text)
    return match[1] if match else ""


class Arithmetic:
    """Family of chained arithmetic."""

    name = "arithmetic"

    def draw(self, luck: Luck, tier: int, split: Split) -> Task:
        """Draw chains until one belongs to the split."""
        return draw_task(self.name, draw_prompt, luck, tier, split)

    def parse(self, text: str) -> Task | None:
        """Read a chain with its tier and split."""
        if not _PROMPT.fullmatch(text):
            return None
        return make_task(self.name, text, text.count(" ") // 2, split_of(text))

    def gold(self, task: Task) -> Gold:
        """Return the worked answer."""
        answer = worked(task.prompt)
        return Gold(answer, facts={"final": final(answer)})

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade by the final ``ans``; the steps are the writer's own business."""
        is_right = final(text) == final(worked(task.prompt))
        return competence(self.name, 1.0 if is_right else 0.0)

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return the chains of the same split that differ in one digit or operator."""
        words = task.prompt.split(" ")
        prompts = []
        for i, old in enumerate(words[1:], start=1):
            for new in DIGITS if i % 2 else OPERATORS:
                prompt = " ".join((*words[:i], new, *words[i + 1 :]))
                if new != old and split_of(prompt) == task.split:
                    prompts.append(prompt)
        return tuple(prompts)

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return the worked answer and two slips at every step."""
        slips = [(step, by) for step in range(task.tier) for by in (1, 8)]
        return shuffled(
            {worked(task.prompt), *(worked(task.prompt, *slip) for slip in slips)}
        )


def _apply(operator: str, left: int, right: int) -> int:
    if operator == "+":
        return (left + right) % 10
    if operator == "-":
        return (left - right) % 10
    return left * right % 10
