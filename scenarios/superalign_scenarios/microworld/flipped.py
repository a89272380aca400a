"""Test double: a source whose every hidden value is the opposite of the truth.

Played with truth switched off, no view, info or training row may differ by a byte from a
play over the true source: whatever differs has leaked.
"""

from typing import Any

import msgspec
import numpy as np

from superalign_env.protocols import TaskSource
from superalign_env.types import Gold, Grade, Split, Task

_OPPOSITES = {"harmful": "benign", "comply": "refuse", "scary": "plain", "but": "and"}
_OPPOSITES |= {opposite: word for word, opposite in _OPPOSITES.items()}


class FlippedGold:
    """Wraps a source: label, answer, facts and grades flipped, all that is public kept.

    Args:
        source: the true one.
    """

    def __init__(self, source: TaskSource) -> None:
        self._source = source

    @property
    def id(self) -> str:
        """The true source's id: the record must not tell the two apart."""
        return self._source.id

    def draw(self, rng: np.random.Generator, split: Split) -> Task:
        """Draw as the true source does."""
        return self._source.draw(rng, split)

    def gold(self, task: Task) -> Gold:
        """Return the opposite of the truth."""
        gold = self._source.gold(task)
        wrong_answers = [text for text in self._source.answers(task) if text != gold.answer]
        answer = wrong_answers[0] if wrong_answers else f"not {gold.answer}"
        return Gold(answer, _flip(gold.label), {k: _flip(v) for k, v in gold.facts.items()})

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Return one minus the true values, under the opposite names."""
        return tuple(
            [
                msgspec.structs.replace(
                    grade, name=_flip(grade.name), value=1.0 - grade.value
                )
                for grade in self._source.grade(task, text, group)
            ]
        )

    def parse(self, text: str, split: Split) -> Task | None:
        """Read as the true source does."""
        return self._source.parse(text, split)

    def menu(self, task: Task) -> tuple[str, ...]:
        """Offer what the true source offers."""
        return self._source.menu(task)

    def answers(self, task: Task) -> tuple[str, ...]:
        """Offer what the true source offers."""
        return self._source.answers(task)

    def __getattr__(self, name: str) -> Any:
        """Read answers, and list tasks, as the true source does: that tells no truth."""
        if name.startswith("_"):  # while it is unpickled
            raise AttributeError(name)
        return getattr(self._source, name)


def _flip(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return -1 - value
    if isinstance(value, str):
        return "-".join([_OPPOSITES.get(part, part) for part in value.split("-")])
    return value
