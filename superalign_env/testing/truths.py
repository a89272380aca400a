"""A source whose every hidden value is another one: what differs over it has leaked."""

import copy
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from superalign_env.errors import ProtocolError
from superalign_env.protocols import Scenario, TaskSource
from superalign_env.types import Gold, Grade, Task

WAY_OUT = (
    "pass flipped=, the same rules over a source that tells the opposite of the truth, or "
    "blind=False to leave the truth unchecked"
)
"""What to do where this check cannot make another truth."""


class FlippedTruth:
    """Any source with other gold and other grades; all that is public stays as it is.

    Another value is one that the source really gives to other tasks where there is one, so
    that rules find what they can read.

    Args:
        source: the true one.
    """

    def __init__(self, source: TaskSource) -> None:
        self._true = source
        self._golds: list[Gold] = []
        self._names: dict[str, list[str]] = {}

    def learn(self, tasks: Iterable[Task]) -> None:
        """Learn from some tasks what the truth of this source looks like."""
        for task in tasks:
            self._golds.append(self._true.gold(task))
            for answer in self._true.answers(task)[:2]:
                for grade in self._true.grade(task, answer):
                    self._names.setdefault(grade.axis, []).append(grade.name)

    @property  # type: ignore[misc]  # as `unittest.mock` does
    def __class__(self) -> Any:
        """The true source's, so that rules which ask for its type find it."""
        return type(self._true)

    def __getattr__(self, name: str) -> Any:
        """Return what is public from the true source."""
        return getattr(self._true, name)

    def gold(self, task: Task) -> Gold:
        """Return another answer, another label, other facts."""
        gold, golds = self._true.gold(task), self._golds
        answers = [*self._true.answers(task), *[other.answer for other in golds]]
        facts = {
            key: _other(value, [other.facts.get(key) for other in golds])
            for key, value in gold.facts.items()
        }
        label = _other(gold.label, [other.label for other in golds])
        return Gold(_other(gold.answer, answers), label, facts)

    def grade(self, task: Task, text: str, group: str = "") -> tuple[Grade, ...]:
        """Return 1 − the true values, under another name where the axis has several."""
        return tuple(
            [
                replace(grade, value=1.0 - grade.value, name=self._name(grade))
                for grade in self._true.grade(task, text, group)
            ]
        )

    def _name(self, grade: Grade) -> str:
        names = self._names.get(grade.axis, ())
        return next((name for name in names if name != grade.name), grade.name)


def flipped_twin(scenario: Scenario[Any]) -> tuple[Scenario[Any], FlippedTruth]:
    """Return a copy of the rules over a source with another truth, and that source.

    Args:
        scenario: rules that nobody has played yet, lest they remember what is true.

    Raises:
        ProtocolError: the rules cannot be copied, or their source cannot be exchanged.
    """
    source = scenario.source
    truth = FlippedTruth(source)
    flipped: Any = truth
    try:
        # Wherever the rules hold the source, the copy holds the flipped one.
        twin = copy.deepcopy(scenario, {id(source): flipped})
    except Exception as error:  # an open file or a lock; what they raise is not agreed upon
        # A shallow copy would share helpers that know the true source, and miss their leaks.
        raise ProtocolError(
            f"{scenario.id} cannot be copied to see whether the truth leaks "
            f"({type(error).__name__}: {error}); {WAY_OUT}"
        ) from error
    if twin.source is not flipped:
        with suppress(AttributeError, TypeError):
            twin.source = flipped  # type: ignore[misc]  # it may be an attribute
    if twin.source is not flipped:
        raise ProtocolError(
            f"the source of {scenario.id} cannot be exchanged to see whether the truth leaks; "
            f"keep it in an attribute, or {WAY_OUT}"
        )
    return twin, truth


def _other(value: Any, candidates: Sequence[Any]) -> Any:
    """Return a value of the same type that is not this one; nothing known stays so."""
    if value is None or value == "":
        return value
    for candidate in candidates:
        if type(candidate) is type(value) and candidate not in (value, ""):
            return candidate
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return -1 - value
    return f"not {value}" if isinstance(value, str) else value
