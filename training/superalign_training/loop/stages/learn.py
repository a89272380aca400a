"""The learner improves by what the environment pays, against a mixture of opponents.

Seed requests as they are, the transformer attacker, the search with its archive and, where
a league is kept, its former selves take turns by case; the members of a group meet the
same query.
"""

from superalign_agents.search import Search
from superalign_env.asking import Anyone
from superalign_env.protocols import Agent
from superalign_training.loop.archive import searcher
from superalign_training.loop.cast import (
    agent_of,
    keep_policy,
    lineup_of,
    policy_of,
    speaker_of,
)
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.playing import stage_scenario
from superalign_training.loop.practice import Drill, practise, reported
from superalign_training.loop.stages.league import league_opponents
from superalign_training.mixture import Mixture
from superalign_training.settings import Settings


def learn(bench: Bench, settings: Settings) -> Outcome:
    """Train the learner on episodes of its own."""
    scenario = stage_scenario(
        settings, split="train", plant=0.0, vanilla=settings.learn.vanilla
    )
    learner = policy_of(bench, "learner", settings)
    agents = {
        **lineup_of(bench, settings),
        "attacker": attackers(bench, settings),
        "learner": learner.agent,
    }
    numbers: dict[str, float] = {}
    for algorithm in settings.by_pay("learner"):
        drill = Drill("learner", scenario, agents, "learn")
        numbers |= practise(bench, learner, drill, algorithm)
    chain = keep_policy(bench, bench.chain, "learner", learner, numbers=numbers)
    agent = chain.policies["learner"].agent
    return Outcome(
        chain, reported("learner", numbers, agent=agent, step=bench.round), numbers
    )


def attackers(bench: Bench, settings: Settings) -> Anyone:
    """Return the attackers to learn against; one that does not learn attacks alone."""
    if "attacker" not in settings.learning:
        return agent_of(bench, "attacker", settings)
    return mixed_attackers(bench, settings)


def mixed_attackers(
    bench: Bench, settings: Settings, search: Search | None = None
) -> Mixture:
    """Return the attackers of today and, where a league is kept, of former rounds.

    Args:
        bench: of the stage.
        settings: of the run.
        search: the search attacker, if its archive shall learn meanwhile; that of the chain
            when absent.
    """
    share = settings.learn.search_share
    today: dict[str, Agent] = {
        "search": search if search is not None else searcher(bench),
        "transformer": speaker_of(bench, "attacker", settings),
    }
    shares = {"search": share, "transformer": 1.0 - share}
    seed = bench.seed_of("opponents")
    if not settings.league.share or bench.round < 2:  # nobody has a past yet
        return Mixture(today, shares=shares, seed=seed)
    former = league_opponents(bench, settings, settings.league, "attacker")
    return former.joined(today, share=settings.league.share, shares=shares, seed=seed)
