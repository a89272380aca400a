"""Games of a league: cells of the win matrix, and critics on fixed planted answers.

Every cell has the same cases and random numbers, so any two are comparable.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.asking import TIMEOUT, Anyone
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent, Scenario
from superalign_env.rollout import Rollouts
from superalign_env.seeding import label, mix
from superalign_env.types import Episode, Metric, Role, Seat, role_of
from superalign_training.judging import planted_forecasts
from superalign_training.selfplay.opponents.matrix import PLANTED, RIGHT
from superalign_training.selfplay.opponents.pool import Member
from superalign_training.selfplay.opponents.settings import Pairing

LIVE = 256

Won = Callable[[Episode], float]
"""What the agent of a cell won of an episode: 1, 0, or 0.5 where nobody won."""

Seated = Callable[[str], Agent]
"""Name of a member → the agent, loaded."""


class MatchSettings(NamedTuple):
    """Common settings of all cells of one matrix."""

    scenario: Scenario[Any]
    """As both roles play it; where queries are asked, one is in every case."""
    pairing: Pairing
    agents: Mapping[Role | Seat, Anyone]
    """Who holds the seats that the cell does not fill."""
    seed: int
    """Of the run: every cell has the same cases and the same random numbers."""
    cases: int
    """Of one cell."""
    timeout: float | None = TIMEOUT
    """Seconds that an agent may take without giving a reply."""

    def play(self, agent: Agent, opponent: Agent) -> list[Episode]:
        """Play one cell.

        Its episodes are named by the same keys as those of every other cell, hence they
        are measured and not recorded; the same checkpoints play them again any time.
        Who asks without hidden state asks every opponent the same queries.
        """
        met = {self.pairing.role: agent, self.pairing.against: opponent}
        seats = {
            seat: met[role]
            if (role := role_of(seat)) in met
            else self.agents[seat if seat in self.agents else role]
            for seat in self.scenario.seats
        }
        run = mix(self.seed, label("league"))
        return Rollouts(self.scenario, seats, run=run, live=LIVE, timeout=self.timeout).run(
            self.cases
        )


def cells(
    pairs: Sequence[tuple[str, str]],
    fixture: MatchSettings,
    *,
    seated: Seated,
    measures: Mapping[str, Won],
    tags: Mapping[str, str],
    step: int = 0,
) -> Iterator[Metric]:
    """Play cells and yield one metric for each cell and measure.

    Args:
        pairs: (agent, opponent), by name.
        fixture: what they have in common.
        seated: loads a member.
        measures: name of the metric → what the agent won.
        tags: of every metric, beside the two roles.
        step: of every metric.
    """
    tagged = {"role": fixture.pairing.role, "against": fixture.pairing.against, **tags}
    for agent, opponent in pairs:
        episodes = fixture.play(seated(agent), seated(opponent))
        for name, won in measures.items():
            estimate: Estimate = share(sum(map(won, episodes)), len(episodes))
            yield Metric(
                name, *estimate, agent=agent, opponent=opponent, tags=tagged, step=step
            )


def rate_critics(
    critics: Sequence[Member],
    scenario: Scenario[Any],
    *,
    judges: Role,
    seated: Seated,
    seed: int,
    cases: int,
    step: int = 0,
    timeout: float | None = TIMEOUT,
) -> Iterator[Metric]:
    """Rate critics by accuracy on a fixed set of planted answers; unreadable is wrong.

    Args:
        critics: members of the league.
        scenario: in which every answer is planted.
        judges: the role that judges.
        seated: loads a member.
        seed: of the run; every critic judges the same answers.
        cases: how many.
        step: of every metric.
        timeout: seconds that a critic may take without giving a reply.
    """
    seats = sum(role_of(seat) == judges for seat in scenario.seats)
    for member in critics:
        critic = seated(member.name)
        # Nobody but critics is ever asked about planted answers.
        alone = dict.fromkeys(scenario.seats, critic)
        run = mix(seed, label("league"))
        rollouts = Rollouts(scenario, alone, run=run, live=LIVE, timeout=timeout)
        episodes = rollouts.run(cases)
        forecasts = planted_forecasts(episodes)
        correct = sum((f.score > 0.5) == (f.outcome > 0.5) for f in forecasts)
        yield Metric(
            RIGHT,
            *share(correct, cases * seats),
            agent=member.name,
            opponent=PLANTED,
            step=step,
        )
