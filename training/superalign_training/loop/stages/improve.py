"""A policy is improved by its pay, against a mixture of opponents where queries are asked.

Nothing here knows a role, a seat or a game. Where a scenario has queries and whoever asks
them learns, the asking seats are held in turns, by case: by the policy of today, by the
search with its archive and, where a league is kept, by former selves; the members of a
group meet the same query. In which shares cases are attacked is for the scenario's options
to say.
"""

from typing import cast

from superalign_agents.search import Search
from superalign_env.asking import Anyone
from superalign_env.protocols import Agent
from superalign_env.types import Role, Seat
from superalign_training.loop.archive import searcher
from superalign_training.loop.cast import (
    agent_of,
    keep_policy,
    lineup_of,
    trainee_of,
)
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.parts import ATTACKED
from superalign_training.loop.playing import stage_parts, stage_scenario
from superalign_training.loop.practice import Drill, practise_all, reported
from superalign_training.loop.stages.league import league_opponents
from superalign_training.mixture import Mixture
from superalign_training.settings import Settings


def improve(bench: Bench, settings: Settings, role: Role) -> Outcome:
    """Improve the policy of a role by what all seats that it holds are paid."""
    policy = trainee_of(bench, role, settings)
    shared = {name: policy.agent for name in held_by(settings, settings.holder(role))}
    agents = {**lineup_of(bench, settings), **opponents(bench, settings), **shared}
    scenario = stage_scenario(settings, split="train")
    drill = Drill(role, scenario, agents, f"improve-{role}")
    done = practise_all(bench, settings, policy, drill, settings.by_pay(role))
    chain = keep_policy(bench, done.chain, role, policy, numbers=done.numbers)
    agent = chain.policies[role].agent
    metrics = reported(role, done.numbers, agent=agent, step=bench.round)
    return Outcome(chain, (*metrics, *done.metrics), done.numbers)


def held_by(settings: Settings, holder: Role) -> list[Role | Seat]:
    """Return the roles and seats that use the policy of a role."""
    return [name for name in settings.lineup if settings.holder(name) == holder]


def opponents(bench: Bench, settings: Settings) -> dict[Role | Seat, Anyone]:
    """Return who asks in practice: a mixture, where who asks learns by attacking."""
    parts = stage_parts(settings)
    taught = parts.asks in settings.learning and not settings.own(parts.asks)
    if not taught or not parts.can(ATTACKED):
        return {}
    return {parts.asks: mixed_attackers(bench, settings)}


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
    asks = stage_parts(settings).asks
    share, seed = settings.attack.search_share, bench.seed_of("opponents")
    today: dict[str, Agent] = {"search": search if search is not None else searcher(bench)}
    if not asks:
        return Mixture(today, seed=seed)
    learns = asks in settings.learning
    name = "transformer" if learns else "lineup"
    today[name] = cast(Agent, agent_of(bench, asks, settings))
    shares = {"search": share, name: 1.0 - share}
    # Nobody has a past yet, or ever will.
    if not settings.league.share or bench.round < 2 or not learns:
        return Mixture(today, shares=shares, seed=seed)
    former = league_opponents(bench, settings, settings.league, asks)
    return former.joined(today, share=settings.league.share, shares=shares, seed=seed)
