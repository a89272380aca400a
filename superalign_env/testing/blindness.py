"""Does what seats see and earn depend on the truth?"""

from collections.abc import Sequence
from typing import Any

from superalign_env.errors import ProtocolError
from superalign_env.game import Game
from superalign_env.protocols import Scenario
from superalign_env.rewards import paid
from superalign_env.testing.truths import WAY_OUT
from superalign_env.types import Reply, View

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
    for shown, instead in zip(game.view_log, other.view_log, strict=False):
        if shown != instead:
            raise ProtocolError(
                f"flipping the gold changed a view: the truth has leaked to {shown.seat} (case "
                f"{case}, {_difference(shown, instead)}). If it shall be shown, pass blind=False"
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
    """Say the same words over another truth."""
    try:
        other = Game(flipped, game.key)
        for replies in groups:
            if len(other.group) == len(replies):
                other.step(replies)
    except Exception as error:  # rules raise whatever comes
        raise ProtocolError(
            f"over another truth the rules raised {type(error).__name__}: {error} (case "
            f"{game.key.case}); they read values of gold that this check could not guess: "
            f"{WAY_OUT}"
        ) from error
    return other


def _pay(game: Game) -> list[Earned]:
    """Return what is paid, less what the truth pays openly."""
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
    """Return which field differs first, and how."""
    for field in mine.__struct_fields__:
        one, other = str(getattr(mine, field)), str(getattr(theirs, field))
        if one != other:
            same = [a == b for a, b in zip(one, other, strict=False)]
            start = max((*same, False).index(False) - 20, 0)
            shown = [repr(text[start : start + 60]) for text in (one, other)]
            return f"{field}: {shown[0]} became {shown[1]}"
    return "another type"
