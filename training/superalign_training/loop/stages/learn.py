"""The learner improves by what the environment pays, against a mixture of opponents.

Seed requests as they are, the transformer attacker and the search with its archive take
turns by case; the members of a group meet the same query.
"""

from collections.abc import Sequence

from superalign_env.protocols import Agent
from superalign_env.types import Metric, Role
from superalign_training.experience import Live, Row, training_rows
from superalign_training.loop.cast import (
    keep_policy,
    play,
    policy_of,
    seat_of,
    stage_scenario,
)
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.stages.attack import searcher
from superalign_training.mixture import Mixture
from superalign_training.settings import Settings


def learn(bench: Bench, settings: Settings) -> Outcome:
    """Train the learner on episodes of its own."""
    scenario = stage_scenario(
        settings, split="train", plant=0.0, vanilla=settings.learn.vanilla
    )
    learner = policy_of(bench, "learner", settings)
    share = settings.learn.search_share
    agents: dict[Role, Agent] = {
        "attacker": Mixture(
            {
                "search": searcher(bench),
                "transformer": policy_of(bench, "attacker", settings).agent,
            },
            shares={"search": share, "transformer": 1.0 - share},
            seed=bench.seed_of("opponents"),
        ),
        "learner": learner.agent,
        "critic": policy_of(bench, "critic", settings).agent,
    }
    rl = settings.learn.rl
    seat = seat_of(scenario, "learner")

    def cases(first: int, count: int) -> Sequence[Row]:
        episodes = play(
            bench,
            scenario,
            agents,
            count,
            part="learn",
            first_case=first,
            group=rl.members,
            fork_at=seat if rl.fork else None,
        )
        return training_rows(episodes, seat)

    numbers = rl.improve(
        learner,
        Live(cases),
        seed=bench.seed_of("trainer"),
        on_step=lambda done, n: bench.watcher.step(done, rl.steps, n),
    )
    chain = keep_policy(bench, bench.chain, "learner", learner)
    agent = chain.policies["learner"].agent
    metrics = tuple(
        Metric(f"learner.{name}", numbers[name], agent=agent, step=bench.round)
        for name in ("reward_first", "reward", "flat")
    )
    return Outcome(chain, metrics, numbers)
