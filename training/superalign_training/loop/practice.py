"""A role practises: its policy is improved by what the environment pays it.

Which role, against whom, by which algorithm and with what added to the pay is for the
stage to say; how episodes become rows, where the policy is kept and what is reported is
the same for all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.asking import Anyone
from superalign_env.protocols import Scenario
from superalign_env.types import Metric, Paid, Role, Seat
from superalign_training.algorithms.making import OnPolicy
from superalign_training.algorithms.own import Own
from superalign_training.experience import (
    Live,
    Played,
    Row,
    paid_episodes,
    training_rows,
)
from superalign_training.loop.driver import Bench
from superalign_training.loop.playing import play, seat_all
from superalign_training.loop.recorder import Earnings
from superalign_training.policy import AnyPolicy, OwnPolicy, Policy

Shaping = Callable[[Sequence[Row]], Sequence[Row]]
"""Rows of one batch → the same rows, other pay."""

REPORTED = ("reward_first", "reward", "frac_reward_zero_std")


class Drill(NamedTuple):
    """What a role practises on."""

    role: Role
    scenario: Scenario[Any]
    agents: Mapping[Role | Seat, Anyone]
    """Everybody; seats of the policy hold its own agent, and all of them are learned from."""
    part: str
    """Name of the episodes within the stage."""


def practise(
    bench: Bench,
    policy: Policy,
    drill: Drill,
    algorithm: OnPolicy,
    *,
    shaping: Shaping | None = None,
) -> dict[str, float]:
    """Improve a policy in place on episodes of its own.

    Args:
        bench: of the stage.
        policy: of the role.
        drill: where it plays, and with whom.
        algorithm: how it learns.
        shaping: adds to the pay of each batch, such as a bonus for novelty.
    """
    held = seat_all(drill.scenario, drill.agents)
    seats = [seat for seat, agent in held.items() if agent is policy.agent]
    earnings = Earnings()
    told = bench.on_step(drill.role, policy, algorithm)

    def cases(first: int, count: int) -> Sequence[Row]:
        episodes = play(
            bench,
            drill.scenario,
            drill.agents,
            count,
            part=drill.part,
            first_case=first,
            group=algorithm.num_generations,
            fork_at=seats[0] if algorithm.fork else None,
        )
        rows = [row for seat in seats for row in training_rows(episodes, seat)]
        earnings.add(episodes, [(row.episode, row.seat) for row in rows])
        return rows if shaping is None else shaping(rows)

    return algorithm.improve(
        policy,
        Live(cases),
        seed=bench.seed_of(f"trainer-{drill.part}"),
        on_step=lambda done, numbers: told(done, {**numbers, **earnings.take()}),
    )


def train_holder(
    bench: Bench, policy: AnyPolicy, drill: Drill, algorithm: OnPolicy | Own
) -> dict[str, float]:
    """Improve a policy by an algorithm, or let a learner improve itself."""
    if isinstance(policy, OwnPolicy):
        assert isinstance(algorithm, Own)
        return _improve_itself(bench, policy, drill, algorithm)
    assert not isinstance(algorithm, Own)
    return practise(bench, policy, drill, algorithm)


def _improve_itself(
    bench: Bench, policy: OwnPolicy, drill: Drill, own: Own
) -> dict[str, float]:
    """Let a learner improve itself on episodes that it plays."""
    held = seat_all(drill.scenario, drill.agents)
    seats = [seat for seat, agent in held.items() if agent is policy.agent]
    earnings = Earnings()
    told = bench.on_step(drill.role, policy, own)

    def cases(first: int, count: int) -> Sequence[Paid]:
        with policy.agent.watched() as watched:
            episodes = play(
                bench,
                drill.scenario,
                drill.agents,
                count,
                part=drill.part,
                first_case=first,
                group=own.num_generations,
            )
            found = paid_episodes(episodes, seats, watched.shown)
        earnings.add(episodes, [(one.episode.id, one.seat) for one in found])
        return found

    return own.improve(
        policy,
        Played(cases),
        seed=bench.seed_of(f"trainer-{drill.part}"),
        on_step=lambda done, numbers: told(done, {**numbers, **earnings.take()}),
    )


def reported(
    role: Role, numbers: Mapping[str, float], *, agent: str, step: int
) -> tuple[Metric, ...]:
    """Return the metrics of a role's practice."""
    return tuple(
        Metric(name, numbers[name], agent=agent, tags={"role": role}, step=step)
        for name in REPORTED
        if name in numbers
    )
