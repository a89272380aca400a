"""Everybody's rating, from everything that was ever played."""

from collections.abc import Sequence

from superalign_env.types import Metric
from superalign_training.league.cells import Sides
from superalign_training.league.exams import PLANTED, RIGHT
from superalign_training.league.matrix import JUDGED, matrix_of
from superalign_training.league.members import Squad
from superalign_training.league.ratings import Contest, rate

RATING = "league.rating"
"""Metric: a rating with the 95 % interval of its belief; tags role and number."""


def rated(
    sides: Sides, squad: Squad, metrics: Sequence[Metric], *, step: int = 0
) -> list[Metric]:
    """Return one rating for each member that has played, in the squad's order.

    Attackers and learners are rated on one scale, by what critics say of their cells.
    Critics are rated on another, by an exam that all of them sat.

    Args:
        sides: which roles attack, answer and judge.
        squad: everybody.
        metrics: of the league; others are ignored.
        step: of the ratings.
    """
    names = {role: [member.name for member in group] for role, group in squad.items()}
    matrix = matrix_of(metrics, names[sides.attacker], names[sides.learner], name=JUDGED)
    kinds = dict(zip(sides, sides._fields, strict=True))
    exams = {m.agent: m for m in metrics if m.name == RIGHT}
    sat = [Contest(f"critic/{m.agent}", PLANTED, m.value, m.n) for m in exams.values()]
    ratings = rate([*matrix.contests(), *sat])
    return [
        Metric(
            RATING,
            *ratings[f"{kinds[role]}/{member.name}"].estimate,
            agent=member.name,
            tags={"role": role, "number": str(member.number)},
            step=step,
        )
        for role, group in squad.items()
        for member in group
        if f"{kinds[role]}/{member.name}" in ratings
    ]
