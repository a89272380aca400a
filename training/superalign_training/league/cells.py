"""Plays the cells of a matrix: always the same cases, so that any two are comparable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.asking import Anyone
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent, Scenario
from superalign_env.rollout import Rollouts
from superalign_env.seeding import label, mix
from superalign_env.types import Episode, Metric, Role, Seat, role_of

LIVE = 256

Won = Callable[[Episode], bool]
"""Whether the attacker won an episode: as critics say, or by the truth."""

Seated = Callable[[str], Agent]
"""Name of a member → the agent, loaded."""


class Sides(NamedTuple):
    """Which roles of a scenario attack, answer and judge."""

    attacker: Role
    learner: Role
    critic: Role


class Fixture(NamedTuple):
    """What every cell of one matrix has in common."""

    scenario: Scenario[Any]
    """In which the attacker always attacks."""
    sides: Sides
    agents: Mapping[Role | Seat, Anyone]
    """Who holds the seats that the cell does not fill."""
    seed: int
    """Of the run: every cell has the same cases and the same random numbers."""
    queries: int
    """Cases of one cell."""

    def play(self, attacker: Agent, learner: Agent) -> list[Episode]:
        """Play one cell.

        Its episodes are named by the same keys as those of every other cell, hence they
        are measured and not recorded; the same checkpoints play them again any time.
        An attacker without hidden state asks every learner the same queries.
        """
        met = {self.sides.attacker: attacker, self.sides.learner: learner}
        seats = {
            seat: met[role]
            if (role := role_of(seat)) in met
            else self.agents[seat if seat in self.agents else role]
            for seat in self.scenario.seats
        }
        run = mix(self.seed, label("league"))
        return Rollouts(self.scenario, seats, run=run, live=LIVE).run(self.queries)


def cells(
    pairs: Sequence[tuple[str, str]],
    fixture: Fixture,
    *,
    seated: Seated,
    measures: Mapping[str, Won],
    tags: Mapping[str, str],
    step: int = 0,
) -> Iterator[Metric]:
    """Play cells and yield one metric for each cell and measure.

    Args:
        pairs: (attacker, learner), by name.
        fixture: what they have in common.
        seated: loads a member.
        measures: name of the metric → who won.
        tags: of every metric.
        step: of every metric.
    """
    for attacker, learner in pairs:
        episodes = fixture.play(seated(attacker), seated(learner))
        for name, won in measures.items():
            found: Estimate = share(sum(map(won, episodes)), len(episodes))
            yield Metric(
                name, *found, agent=attacker, opponent=learner, tags=dict(tags), step=step
            )
