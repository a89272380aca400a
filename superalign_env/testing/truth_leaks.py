"""Check that views and pay do not depend on gold: the same words over other gold."""

import copy
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from superalign_env.errors import ProtocolError
from superalign_env.game import Game
from superalign_env.protocols import Scenario, TaskSource
from superalign_env.rewards import paid
from superalign_env.types import Gold, Grade, Reply, Task, View

WAY_OUT = (
    "pass flipped=, the same rules over a source that tells the opposite of the truth, or "
    "blind=False to leave the truth unchecked"
)
"""What to do where this check cannot make another truth."""


class FlippedTruth:
    """Wrapper of a task source with other gold and grades and the same public parts.

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
        """Collect gold and grade names of some tasks."""
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
        """Return a public attribute of the true source."""
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


_FOR_TRUTH = "truth"
"""The part of the pay that may come from the truth: its name says so in every report."""

Earned = tuple[str, str, int, float]
"""(seat, part, turn, value)"""


def check_blind(
    game: Game, flipped: Scenario[Any], groups: Sequence[Sequence[Reply]]
) -> None:
    """Check that the same words over another truth look and pay the same to every seat.

    Args:
        game: what was played over the truth.
        flipped: the same rules over another truth.
        groups: what was said, group by group.

    Raises:
        ProtocolError: something differs; the message says what became of it.
    """
    other = _played(game, flipped, groups)
    case = game.key.case
    for view, view_there in zip(game.view_log, other.view_log, strict=False):
        if view != view_there:
            raise ProtocolError(
                f"flipping the gold changed a view: the truth has leaked to {view.seat} (case "
                f"{case}, {_difference(view, view_there)}). If it shall be shown, pass blind=False"
            )
    for earned, instead_earned in zip(_pay(game), _pay(other), strict=False):
        if earned != instead_earned:
            seat, part, _, _ = earned
            raise ProtocolError(
                f"flipping the gold changed what {seat} is paid by the part {part!r} (case "
                f"{case}, {_written(earned)} became {_written(instead_earned)}). Where the "
                f"truth shall pay, call the part {_FOR_TRUTH!r}, so that no report takes it "
                "for a learned signal"
            )
    same = len(_pay(game)) == len(_pay(other)) and len(game.view_log) == len(other.view_log)
    if not same or game.ending != other.ending:
        raise ProtocolError(
            f"flipping the gold changed how long case {case} lasts, or how it ends: "
            f"{game.ending} became {other.ending}"
        )


def _played(game: Game, flipped: Scenario[Any], groups: Sequence[Sequence[Reply]]) -> Game:
    """Play the same words over other gold."""
    try:
        replayed = Game(flipped, game.key)
        for replies in groups:
            if len(replayed.group) == len(replies):
                replayed.step(replies)
    except Exception as error:  # rules raise whatever comes
        raise ProtocolError(
            f"over another truth the rules raised {type(error).__name__}: {error} (case "
            f"{game.key.case}); they read values of gold that this check could not guess: "
            f"{WAY_OUT}"
        ) from error
    return replayed


def _pay(game: Game) -> list[Earned]:
    """Return paid rewards, without the part ``truth``."""
    return [
        (reward.seat, reward.part, reward.turn, value)
        for reward in game.rewards
        if reward.part != _FOR_TRUTH
        and (value := paid(reward, game.scenario.weights)) is not None
    ]


def _written(earned: Earned) -> str:
    seat, part, turn, value = earned
    return f"{value} to {seat} by {part!r} on turn {turn}"


def _difference(mine: View, theirs: View) -> str:
    """Return the first field that differs, and how."""
    for field in mine.__struct_fields__:
        one, other = str(getattr(mine, field)), str(getattr(theirs, field))
        if one != other:
            same = [a == b for a, b in zip(one, other, strict=False)]
            start = max((*same, False).index(False) - 20, 0)
            excerpts = [repr(text[start : start + 60]) for text in (one, other)]
            return f"{field}: {excerpts[0]} became {excerpts[1]}"
    return "another type"
