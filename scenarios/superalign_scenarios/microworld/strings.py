"""String programs: small code that is executed, with the string written after every step.

``code rev next = a c f b`` wants ``rev b f c a ; next c g d b ans c g d b``: operations
from left to right over four letters of eight. The tier is the number of operations.
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
from superalign_scenarios.microworld.words import LETTERS, STRING_OPERATIONS

_LENGTH = 4
_PROMPT = re.compile(rf"code(?: (?:{'|'.join(STRING_OPERATIONS)})){{1,3}} =(?: [a-h]){{4}}")
_ANSWER = re.compile(r"(?:^| )ans ([a-h] [a-h] [a-h] [a-h])$")


def execute(operation: str, letters: list[str]) -> list[str]:
    """Return the letters after one operation.

    ``rev`` reverses, ``rot`` moves the first letter to the end, ``swap`` exchanges the
    neighbours of each pair, ``next`` replaces every letter by its successor (h → a).
    """
    if operation == "rev":
        return letters[::-1]
    if operation == "rot":
        return [*letters[1:], letters[0]]
    if operation == "swap":
        return [letters[1], letters[0], letters[3], letters[2]]
    return [LETTERS[(LETTERS.index(letter) + 1) % len(LETTERS)] for letter in letters]


def draw_prompt(luck: Luck, tier: int) -> str:
    """Draw a program of any split."""
    operations = [luck.pick(STRING_OPERATIONS) for _ in range(tier)]
    letters = [luck.pick(LETTERS) for _ in range(_LENGTH)]
    return " ".join(("code", *operations, "=", *letters))


def worked(prompt: str, slip: int = -1, instead: str = "") -> str:
    """Return the worked answer to a program.

    Args:
        prompt: ``code rev next = a c f b``.
        slip: which step to get wrong, from 0.
        instead: the operation that is executed there under the name of the right one.
    """
    words = prompt.split(" ")
    letters = words[-_LENGTH:]
    steps = []
    for i, operation in enumerate(words[1 : -_LENGTH - 1]):
        letters = execute(instead if i == slip else operation, letters)
        steps.append(f"{operation} {' '.join(letters)}")
    return f"{' ; '.join(steps)} ans {' '.join(letters)}"


def final(text: str) -> str:
    """Return what an answer says at its end; nothing when it says no answer."""
    match = _ANSWER.search(text)
    return match[1] if match else ""


class Strings:
    """Family of string programs."""

    name = "strings"

    def draw(self, luck: Luck, tier: int, split: Split) -> Task:
        """Draw programs until one belongs to the split."""
        return draw_task(self.name, draw_prompt, luck, tier, split)

    def parse(self, text: str) -> Task | None:
        """Read a program with its tier and split."""
        if not _PROMPT.fullmatch(text):
            return None
        return make_task(self.name, text, text.count(" ") - _LENGTH - 1, split_of(text))

    def gold(self, task: Task) -> Gold:
        """Return the worked answer."""
        answer = worked(task.prompt)
        return Gold(answer, facts={"final": final(answer)})

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Grade by the final ``ans``."""
        is_right = final(text) == final(worked(task.prompt))
        return competence(self.name, 1.0 if is_right else 0.0)

    def menu(self, task: Task) -> tuple[str, ...]:
        """Return the programs of the same split that differ in one operation or letter."""
        words = task.prompt.split(" ")
        prompts = []
        for i, old in enumerate(words):
            if old in ("code", "="):
                continue
            for new in STRING_OPERATIONS if i <= task.tier else LETTERS:
                prompt = " ".join((*words[:i], new, *words[i + 1 :]))
                if new != old and split_of(prompt) == task.split:
                    prompts.append(prompt)
        return tuple(prompts)

    def answers(self, task: Task) -> tuple[str, ...]:
        """Return the worked answer and, at every step, what the other operations give."""
        slips = [(step, op) for step in range(task.tier) for op in STRING_OPERATIONS]
        return shuffled(
            {worked(task.prompt), *(worked(task.prompt, *slip) for slip in slips)}
        )
