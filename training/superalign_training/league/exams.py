"""Critics meet no critic: all sit the same exam of planted answers."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from superalign_env.measures import share
from superalign_env.protocols import Scenario
from superalign_env.rollout import Rollouts
from superalign_env.seeding import label, mix
from superalign_env.types import Metric, Role, role_of
from superalign_training.judging import planted_forecasts
from superalign_training.league.cells import LIVE, Seated
from superalign_training.league.members import Member

RIGHT = "league.right"
"""Metric: share of the fixed planted answers that a critic judges rightly."""
PLANTED = "planted answers"
"""The opponent of every critic."""


def examined(
    critics: Sequence[Member],
    scenario: Scenario[Any],
    *,
    judges: Role,
    seated: Seated,
    seed: int,
    cases: int,
    known: Collection[str] = (),
    step: int = 0,
) -> Iterator[Metric]:
    """Yield what each critic got right; a verdict that nobody can read is wrong.

    Args:
        critics: members of the league.
        scenario: in which every answer is planted.
        judges: the role that judges.
        seated: loads a member.
        seed: of the run; every critic judges the same answers.
        cases: how many.
        known: names that were examined already.
        step: of every metric.
    """
    seats = sum(role_of(seat) == judges for seat in scenario.seats)
    for member in critics:
        if member.name in known:
            continue
        critic = seated(member.name)
        # Nobody but critics is ever asked about planted answers.
        alone = dict.fromkeys(scenario.seats, critic)
        run = mix(seed, label("league"))
        episodes = Rollouts(scenario, alone, run=run, live=LIVE).run(cases)
        forecasts = planted_forecasts(episodes)
        right = sum((f.score > 0.5) == (f.outcome > 0.5) for f in forecasts)
        yield Metric(
            RIGHT,
            *share(right, cases * seats),
            agent=member.name,
            opponent=PLANTED,
            step=step,
        )
