"""Rounds in any scenario: a policy is improved by its pay, and everybody is measured.

Nothing here knows a role, a seat or a game. What is measured is what episodes say of
themselves: pay of every seat, grades by axis, failures.
"""

from typing import NamedTuple

import msgspec

from superalign_env.asking import Anyone
from superalign_env.evaluation import metrics, paired, pay_of
from superalign_env.seeding import generator, label, mix
from superalign_env.types import Episode, Metric, Role, Seat, Split, role_of
from superalign_training.evaluation.outcome_summary import GAIN
from superalign_training.loop.cast import first_policy, keep_policy, lineup_of, policy_of
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import play, stage_scenario
from superalign_training.loop.practice import Drill, practise, reported
from superalign_training.settings import Settings


def improve(bench: Bench, settings: Settings, role: Role) -> Outcome:
    """Improve the policy of a role by what all seats that it holds are paid."""
    policy = policy_of(bench, role, settings)
    holder = settings.holder(role)
    shared = {name: policy.agent for name in _held(settings, holder)}
    agents = {**lineup_of(bench, settings), **shared}
    scenario = stage_scenario(settings, split="train")
    numbers: dict[str, float] = {}
    for algorithm in settings.by_pay(role):
        numbers |= practise(
            bench, policy, Drill(role, scenario, agents, f"improve-{role}"), algorithm
        )
    chain = keep_policy(bench, bench.chain, role, policy, numbers=numbers)
    agent = chain.policies[role].agent
    return Outcome(chain, reported(role, numbers, agent=agent, step=bench.round), numbers)


def measure_outcomes(bench: Bench, settings: Settings) -> Outcome:
    """Measure the lineup as it is after a round, always on the same held-out tasks."""
    who = f"round {bench.round}" if bench.round else "before"
    lineup = lineup_of(bench, settings)
    found = _measured(bench, settings, lineup, who, "gate", take=bench.round)
    return Outcome(bench.chain, tuple(found.metrics))


def test_outcomes(bench: Bench, settings: Settings) -> Outcome:
    """Measure, once, the lineup before and after training on the same unseen tasks."""
    final = lineup_of(bench, settings)
    untrained: dict[Role | Seat, Anyone] = {
        role: first_policy(role, settings, bench.residents).agent
        for role in bench.chain.policies
    }
    before = _measured(bench, settings, {**final, **untrained}, "before", "test", take=0)
    bench.watcher.step(1, 2, {})
    after = _measured(bench, settings, final, "final", "test", take=1)
    learning = {
        name
        for role in settings.learning
        for name in _held(settings, settings.holder(role))
    }
    gains = (
        []
        if not (before.episodes and after.episodes)
        else [
            msgspec.structs.replace(
                paired(GAIN, after.episodes, before.episodes, pay_of(seat)),
                tags={"seat": seat, "split": "test"},
                step=bench.round,
            )
            for seat in stage_scenario(settings, split="test").seats
            if seat in learning
            or (role_of(seat) in learning and seat not in settings.lineup)
        ]
    )
    return Outcome(bench.chain, (*before.metrics, *after.metrics, *gains))


class _Measured(NamedTuple):
    episodes: list[Episode]
    metrics: list[Metric]


def _measured(
    bench: Bench,
    settings: Settings,
    agents: dict[Role | Seat, Anyone],
    who: str,
    split: Split,
    *,
    take: int,
) -> _Measured:
    """Play held-out tasks, the same ones with the same seeds in every round, and measure."""
    scenario = stage_scenario(settings, split=split)
    rng = generator(mix(bench.run.info.seed, label(f"outcomes-{split}")))
    tasks = [scenario.draw(rng) for _ in range(settings.evaluate.cases)]
    episodes = play(
        bench,
        scenario,
        agents,
        len(tasks),
        part=f"outcomes-{split}",
        take=take,
        tasks=tasks,
    )
    played = [episode for episode in episodes if not episode.failed]
    found = metrics(played or episodes)
    return _Measured(
        played,
        [
            msgspec.structs.replace(
                metric, tags={**metric.tags, "who": who, "split": split}, step=bench.round
            )
            for metric in found
        ],
    )


def _held(settings: Settings, holder: Role) -> list[Role | Seat]:
    """Return the roles and seats that use the policy of a role."""
    return [name for name in settings.lineup if settings.holder(name) == holder]
