"""Stage improve: RL of a policy against current opponents and past checkpoints.

Nothing here knows a role, a seat or a game. Opponents take turns by case, so that the
members of a group meet the same one. Where a league is kept, past checkpoints of every other
policy that learns have their share. Where a scenario has queries and whoever asks them
learns, the search with its archive has one, too. In which shares cases are attacked is for
the scenario's options to say.
"""

from typing import cast

from superalign_agents.search import Search
from superalign_env.asking import Anyone
from superalign_env.protocols import Agent
from superalign_env.types import Role, Seat, role_of
from superalign_training.selfplay.agents import (
    agent_of,
    keep_policy,
    lineup_of,
    trainee_of,
)
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.opponents.pool import OpponentPool
from superalign_training.selfplay.opponents.settings import SEARCH_SHARE
from superalign_training.selfplay.playing import stage_capabilities, stage_scenario
from superalign_training.selfplay.rl_training import (
    RolloutSetup,
    reward_metrics,
    train_by_all,
)
from superalign_training.selfplay.sandbox import search_attacker
from superalign_training.selfplay.scenario_capabilities import (
    ATTACKED,
    ScenarioCapabilities,
    league_roles,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.stages.league import has_past, past_opponents
from superalign_training.selfplay.supervisors.feedback import HumanFeedback


def improve(context: StageContext, settings: Settings, role: Role) -> StageResult:
    """Train the policy of a role on the rewards of all of its seats."""
    policy = trainee_of(context, role, settings)
    shared = {name: policy.agent for name in held_by(settings, settings.holder(role))}
    agents = {
        **lineup_of(context, settings),
        **opponents(context, settings, role),
        **shared,
    }
    scenario = stage_scenario(settings, split="train")
    setup = RolloutSetup(role, scenario, agents, f"improve-{role}")
    result = train_by_all(context, settings, policy, setup, settings.rl_algorithms(role))
    state = keep_policy(context, result.state, role, policy, numbers=result.numbers)
    agent = state.policies[role].agent
    metrics = reward_metrics(role, result.numbers, agent=agent, step=context.round)
    return StageResult(state, (*metrics, *result.metrics), result.numbers)


def held_by(settings: Settings, holder: Role) -> list[Role | Seat]:
    """Return the roles and seats that use the policy of a role."""
    return [name for name in settings.lineup if settings.holder(name) == holder]


def opponents(
    context: StageContext, settings: Settings, role: Role
) -> dict[Role | Seat, Anyone]:
    """Return the opponents of a role in training that differ from the current lineup."""
    capabilities = stage_capabilities(settings)
    agents: dict[Role | Seat, Anyone] = {}
    if _attacks(settings, capabilities):
        agents[capabilities.asks] = mixed_attackers(context, settings, against=role)
    for opponent in league_roles(settings, capabilities):
        same = settings.holder(opponent) == settings.holder(role)
        if not same and opponent not in agents and has_past(context, settings, opponent):
            agents[opponent] = _with_past(context, settings, opponent, against=role)
    return agents


def _attacks(settings: Settings, capabilities: ScenarioCapabilities) -> bool:
    taught = capabilities.asks in settings.learning and not settings.own(capabilities.asks)
    return taught and capabilities.can(ATTACKED)


def _with_past(
    context: StageContext, settings: Settings, role: Role, *, against: Role
) -> OpponentPool:
    """Return an opponent pool of a role's current policy and the league's past ones."""
    today = {"today": cast(Agent, agent_of(context, role, settings))}
    past = past_opponents(context, settings, role, against=against)
    seed = context.seed_of(f"opponents-{role}")
    return past.joined(today, share=settings.league.share, seed=seed)


def mixed_attackers(
    context: StageContext,
    settings: Settings,
    search: Search | None = None,
    *,
    against: Role,
) -> OpponentPool:
    """Return an opponent pool of the current attackers and, with a league, past ones.

    Args:
        context: of the stage.
        settings: of the run.
        search: the search attacker, if its archive shall learn meanwhile; that of the run state
            when absent.
        against: the role that they attack.
    """
    asks = stage_capabilities(settings).asks
    seed = context.seed_of("opponents")
    today: dict[str, Agent] = {
        "search": search if search is not None else search_attacker(context)
    }
    if not asks:
        return OpponentPool(today, seed=seed)
    name = "transformer" if asks in settings.learning else "lineup"
    today[name] = cast(Agent, agent_of(context, asks, settings))
    shares = {"search": SEARCH_SHARE, name: 1.0 - SEARCH_SHARE}
    if not has_past(context, settings, asks):
        return OpponentPool(today, shares=shares, seed=seed)
    past = past_opponents(context, settings, asks, against=against)
    return past.joined(today, share=settings.league.share, shares=shares, seed=seed)


def annotate(context: StageContext, settings: Settings) -> StageResult:
    """Ask people about this round's judged training answers."""
    scenario = stage_scenario(settings, split="train")
    role = stage_capabilities(settings).judges
    seats = [seat for seat in scenario.seats if role_of(seat) == role]
    feedback = HumanFeedback(
        context, settings, scenario, seats, context.state.question_remainders
    )
    names = context.run.episode_ids(
        generation=context.generation,
        round=context.round,
        split="train",
        scenario=scenario.id,
    )
    feedback.of(context.run.named(names))
    state = context.state.with_question_remainders(feedback.question_remainders)
    return StageResult(state, feedback.metrics(role))
