"""Everybody's rating, from everything that was ever played."""

from collections.abc import Sequence

from superalign_env.types import Metric, Role
from superalign_training.league.exams import PLANTED, RIGHT
from superalign_training.league.matrix import Pairing, matrix_of
from superalign_training.league.members import Squad
from superalign_training.league.ratings import Contest, rate

RATING = "league.rating"
"""Metric: a rating with the 95 % interval of its belief; tags role and number."""


def rated(
    pairings: Sequence[Pairing],
    squad: Squad,
    metrics: Sequence[Metric],
    *,
    judges: Role = "",
    step: int = 0,
) -> list[Metric]:
    """Return one rating for each member that has played, in the squad's order.

    Roles that meet are rated on one scale, by who won their cells. Who judges is rated on
    another, by an exam that all of them sat.

    Args:
        pairings: roles that meet.
        squad: everybody.
        metrics: of the league; others are ignored.
        judges: the role that judges, if it is examined.
        step: of the ratings.
    """
    names = {role: [member.name for member in group] for role, group in squad.items()}
    contests = [
        contest
        for pairing in pairings
        for contest in matrix_of(
            metrics, pairing, names[pairing.role], names[pairing.against]
        ).contests()
    ]
    exams = {m.agent: m for m in metrics if m.name == RIGHT} if judges else {}
    sat = [Contest(f"{judges}/{m.agent}", PLANTED, m.value, m.n) for m in exams.values()]
    ratings = rate([*contests, *sat])
    return [
        Metric(
            RATING,
            *ratings[f"{role}/{member.name}"].estimate,
            agent=member.name,
            tags={"role": role, "number": str(member.number)},
            step=step,
        )
        for role, group in squad.items()
        for member in group
        if f"{role}/{member.name}" in ratings
    ]
