"""The league: past checkpoints of every policy that learns play, and are rated.

It grows by its newcomers: their row and column of each matrix, nothing else. What was played
stays as it was measured, in the record. `league` is for training: the scenario or critics
say who won. `trial` is evaluation: the truth says it, on held-out requests, under names
of its own, and no stage reads them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from superalign_agents.search import Search
from superalign_env.capabilities import says_who_wins, winner_of
from superalign_env.protocols import Agent, Scenario
from superalign_env.store import declare
from superalign_env.types import Episode, Metric, Role, Split, role_of
from superalign_training.evaluation.refusals import answered
from superalign_training.judging import final_score
from superalign_training.selfplay.agents import lineup_of, recorded_agent, shelf_of
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.opponents.games import Fixture, Won, cells, rate_critics
from superalign_training.selfplay.opponents.matrix import (
    RIGHT,
    TRUE,
    WON,
    Matrix,
    matrix_of,
    missing,
    rated,
)
from superalign_training.selfplay.opponents.pool import (
    Member,
    MembersByRole,
    OpponentPool,
    enlist,
    load,
    members,
    opponent_pool,
)
from superalign_training.selfplay.opponents.settings import LeagueSettings, Pairing
from superalign_training.selfplay.playing import stage_capabilities, stage_scenario
from superalign_training.selfplay.sandbox import ARCHIVE, searcher
from superalign_training.selfplay.scenario_capabilities import (
    PLANTED,
    ScenarioCapabilities,
    league_roles,
    rated_pairings,
    tried_pairing,
)
from superalign_training.selfplay.settings import Settings

HARM = "league.harm"
"""Metric: share of queries that were harmful and complied with, by the truth."""

declare(HARM, "Harmful queries that were complied with, by the truth", unit="share")


def league(context: StageContext, settings: Settings, rules: LeagueSettings) -> StageResult:
    """Play what newcomers add to each matrix, as training may know it, and rate everybody.

    A cell is judged by the critic of the round in which it was played; its tag says whom.
    """
    parts = stage_capabilities(settings)
    members_by_role, pairings = (
        enrolled(context, settings, parts),
        rated_pairings(settings, parts),
    )
    scenario = stage_scenario(settings, split="train")
    metrics: list[Metric] = []
    for pairing in pairings:
        won = _won(scenario, pairing, parts.asks, settings.attack.score_threshold)
        metrics += _grown(
            context,
            settings,
            rules,
            members_by_role,
            pairing,
            split="train",
            measures={WON: won},
        )
    examines = parts.judges if parts.judges in members_by_role else ""
    if examines:
        metrics += rate_critics(
            members_by_role[examines],
            stage_scenario(settings, split="train", variant="planted"),
            judges=examines,
            seated=_seated(context, settings, members_by_role),
            seed=context.run.info.seed,
            cases=rules.cases,
            known={row.metric.agent for row in context.run.metrics.read(RIGHT)},
            step=context.round,
        )
    old = [row.metric for row in context.run.metrics.read("league.*")]
    metrics += rated(
        pairings, members_by_role, [*old, *metrics], judges=examines, step=context.round
    )
    return StageResult(
        context.state,
        tuple(metrics),
        {role: len(group) for role, group in members_by_role.items()},
    )


def trial(
    context: StageContext, settings: Settings, rules: LeagueSettings, split: Split = "gate"
) -> StageResult:
    """Measure, by the truth, what newcomers add to the matrix on a held-out split."""
    parts = stage_capabilities(settings)
    pairing = tried_pairing(settings, parts)
    assert pairing is not None, "the plan leaves the stage out"
    metrics = _grown(
        context,
        settings,
        rules,
        enrolled(context, settings, parts),
        pairing,
        split=split,
        measures={TRUE: _fault, HARM: _harm},
    )
    return StageResult(context.state, tuple(metrics))


def enrolled(
    context: StageContext, settings: Settings, parts: ScenarioCapabilities
) -> MembersByRole:
    """Return everybody in the league; the search attacker of the chain enlists first.

    Whoever judges is enrolled, to be rate_critics, where it learns and answers are planted.
    """
    roles = league_roles(settings, parts)
    memory = context.state.memories.get(ARCHIVE)
    if memory is not None and parts.asks in roles:
        enlist(context.run, searcher(context), memory.path, role=parts.asks)
    taught = parts.judges in settings.learning and not settings.own(parts.judges)
    if taught and parts.can(PLANTED):
        roles.append(parts.judges)
    return {
        role: members(context.run.agents, role, current=context.state.policies[role].agent)
        for role in roles
    }


def standings(
    context: StageContext, members_by_role: MembersByRole, pairing: Pairing
) -> Matrix:
    """Return the matrix of two roles on the training split, as training may know it."""
    played = [row.metric for row in context.run.metrics.read(WON)]
    return matrix_of(
        played,
        pairing,
        _names(members_by_role[pairing.role]),
        _names(members_by_role[pairing.against]),
    )


def past_opponents(
    context: StageContext, settings: Settings, role: Role, *, against: Role
) -> OpponentPool:
    """Return past checkpoints of a role, drawn by how often they beat who trains now.

    Args:
        context: of the stage.
        settings: of the run.
        role: whose checkpoints.
        against: the role that trains. Where the two are not rated, checkpoints are drawn
            by age alone.

    Raises:
        InvalidOption: nobody is in the league.
        RecordDamaged: a checkpoint is missing or was altered.
    """
    rules, parts = settings.league, stage_capabilities(settings)
    members_by_role = enrolled(context, settings, parts)
    pairing = next(
        (p for p in rated_pairings(settings, parts) if set(p) == {role, against}), None
    )
    beaten = {}
    if pairing is not None:
        now = context.state.policies[against].agent
        beaten = standings(context, members_by_role, pairing).beaten_by(role, now)
    return opponent_pool(
        members_by_role[role],
        shelf_of(context, settings),
        sampling=rules.sampling,
        beaten=beaten,
        power=rules.sampling_power,
        most=rules.max_opponents,
    )


def has_past(context: StageContext, settings: Settings, role: Role) -> bool:
    """Whether past checkpoints of a role play now; in the first round there are none."""
    plays = settings.league.share > 0 and context.round > 1
    return plays and role in league_roles(settings, stage_capabilities(settings))


def _grown(
    context: StageContext,
    settings: Settings,
    rules: LeagueSettings,
    members_by_role: MembersByRole,
    pairing: Pairing,
    *,
    split: Split,
    measures: Mapping[str, Won],
) -> list[Metric]:
    """Play the cells of two roles that the record does not hold yet."""
    parts = stage_capabilities(settings)
    met = {"split": split, "role": pairing.role, "against": pairing.against}
    known = {
        (row.metric.agent, row.metric.opponent)
        for row in context.run.metrics.read(next(iter(measures)), tags=met)
    }
    pairs = missing(
        _names(members_by_role[pairing.role]),
        _names(members_by_role[pairing.against]),
        known,
    )
    variant = "attacked" if "attacked" in parts.variants else ""
    fixture = Fixture(
        stage_scenario(settings, split=split, variant=variant),
        pairing,
        lineup_of(context, settings),
        context.run.info.seed,
        rules.cases,
    )
    tags: dict[str, str] = {"split": split}
    if parts.judges in settings.lineup:
        tags["judge"] = recorded_agent(context, parts.judges, settings)[:12]
    played = cells(
        pairs,
        fixture,
        seated=_seated(context, settings, members_by_role, invent=split == "train"),
        measures=measures,
        tags=tags,
        step=context.round,
    )
    found = []
    for metric in played:
        found.append(metric)
        done = len(found) // len(measures)
        context.watcher.step(done, len(pairs), {metric.name: metric.value})
    return found


def _seated(
    context: StageContext,
    settings: Settings,
    members_by_role: MembersByRole,
    *,
    invent: bool = True,
) -> Callable[[str], Agent]:
    """Return what loads members by name, each once.

    Args:
        context: of the stage.
        settings: of the run.
        members_by_role: everybody.
        invent: whether archived texts may be said; they are invalid on another split.
    """
    by_name = {
        member.name: member for group in members_by_role.values() for member in group
    }

    @cache
    def seated(name: str) -> Agent:
        agent = load(by_name[name], shelf_of(context, settings))
        if isinstance(agent, Search) and not invent:
            return Search(agent.archive, invent=False)
        return agent

    return seated


def _won(scenario: Scenario[Any], pairing: Pairing, asks: Role, below: float) -> Won:
    """Return what the first of two roles won: as the scenario says, else by the verdicts.

    A query that is invalid, or that nobody judged, failed; another game without a winner
    counts half.
    """

    def won(episode: Episode) -> float:
        if not says_who_wins(scenario):
            score = final_score(episode)
            return float(score is not None and score < below)
        winner = winner_of(scenario, episode)
        role = role_of(winner) if winner is not None else ""
        if role not in pairing:
            return 0.0 if pairing.role == asks else 0.5
        return float(role == pairing.role)

    return won


def _fault(episode: Episode) -> float:
    return float(any(not answer.right for answer in answered([episode])))


def _harm(episode: Episode) -> float:
    return float(any(answer.missed for answer in answered([episode])))


def _names(group: Sequence[Member]) -> list[str]:
    return [member.name for member in group]
