"""The league grows by its newcomers: their row and column of the matrix, nothing else.

What was played stays as it was measured, in the record. `league` is for training: critics
say who won. `trial` is evaluation: the truth says it, on held-out requests, under names
of its own, and no stage reads them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from superalign_agents.search import Search
from superalign_env.capabilities import winner_of
from superalign_env.protocols import Agent, Scenario
from superalign_env.types import Episode, Metric, Role, Split, role_of
from superalign_training.evaluation.refusals import answered
from superalign_training.judging import final_score
from superalign_training.league.cells import Fixture, Sides, Won, cells
from superalign_training.league.exams import RIGHT, examined
from superalign_training.league.matrix import JUDGED, TRUE, Matrix, matrix_of, missing
from superalign_training.league.members import Member, Squad, enlist, load, members
from superalign_training.league.opponents import Opponents, opponents
from superalign_training.league.settings import LeagueSettings
from superalign_training.league.standings import rated
from superalign_training.loop.archive import ARCHIVE, searcher
from superalign_training.loop.cast import lineup_of, shelf_of
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.parts import Parts
from superalign_training.loop.playing import stage_parts, stage_scenario
from superalign_training.settings import Settings

HARM = "league.harm"
"""Metric: share of queries that were harmful and complied with, by the truth."""


def league(bench: Bench, settings: Settings, rules: LeagueSettings) -> Outcome:
    """Play what newcomers add to the matrix, as critics judge it, and rate everybody.

    A cell is judged by the critic of the round in which it was played; its tag says whom.
    """
    parts = stage_parts(settings)
    squad = enrolled(bench, parts)
    rated_by = stage_scenario(settings, split="train")
    metrics = _grown(
        bench,
        settings,
        rules,
        squad,
        split="train",
        measures={JUDGED: _judged(rated_by, parts.asks, settings.attack.success_below)},
    )
    metrics += examined(
        squad[parts.judges],
        stage_scenario(settings, split="train", variant="planted"),
        judges=parts.judges,
        seated=_seated(bench, settings, squad),
        seed=bench.run.info.seed,
        cases=rules.queries,
        known={row.metric.agent for row in bench.run.metrics.read(RIGHT)},
        step=bench.round,
    )
    old = [row.metric for row in bench.run.metrics.read("league.*")]
    metrics += rated(_sides(parts), squad, [*old, *metrics], step=bench.round)
    return Outcome(
        bench.chain,
        tuple(metrics),
        {role: len(group) for role, group in squad.items()},
    )


def trial(
    bench: Bench, settings: Settings, rules: LeagueSettings, split: Split = "gate"
) -> Outcome:
    """Measure, by the truth, what newcomers add to the matrix on a held-out split."""
    metrics = _grown(
        bench,
        settings,
        rules,
        enrolled(bench, stage_parts(settings)),
        split=split,
        measures={TRUE: _fault, HARM: _harm},
    )
    return Outcome(bench.chain, tuple(metrics))


def enrolled(bench: Bench, parts: Parts) -> Squad:
    """Return everybody in the league; the search attacker of the chain enlists first.

    Who asks, who answers and who judges is enrolled; all of them learn.
    """
    memory = bench.chain.memories.get(ARCHIVE)
    if memory is not None:
        enlist(bench.run, searcher(bench), memory.path, role=parts.asks)
    return {
        role: members(bench.run.agents, role, current=bench.chain.policies[role].agent)
        for role in (parts.asks, parts.answers, parts.judges)
    }


def _sides(parts: Parts) -> Sides:
    return Sides(parts.asks, parts.answers, parts.judges)


def standings(bench: Bench, squad: Squad, parts: Parts) -> Matrix:
    """Return the matrix of the training split, as critics judged it."""
    found = [row.metric for row in bench.run.metrics.read(JUDGED)]
    return matrix_of(found, _names(squad[parts.asks]), _names(squad[parts.answers]))


def league_opponents(
    bench: Bench, settings: Settings, rules: LeagueSettings, role: Role
) -> Opponents:
    """Return members of a role to train against, by how often they beat who trains now.

    Args:
        bench: of the stage.
        settings: of the run.
        rules: how they are sampled.
        role: who asks in the stage of who answers, and the other way round; critics are
            met by age alone.

    Raises:
        InvalidOption: nobody is in the league.
        RecordDamaged: a checkpoint is missing or was altered.
    """
    parts = stage_parts(settings)
    squad = enrolled(bench, parts)
    matrix = standings(bench, squad, parts)
    policies = bench.chain.policies
    beaten = {
        parts.asks: matrix.attackers_against(policies[parts.answers].agent),
        parts.answers: matrix.learners_against(policies[parts.asks].agent),
    }
    return opponents(
        squad[role],
        shelf_of(bench, settings),
        sampling=rules.sampling,
        beaten=beaten.get(role, {}),
        power=rules.power,
        most=rules.most,
    )


def _grown(
    bench: Bench,
    settings: Settings,
    rules: LeagueSettings,
    squad: Squad,
    *,
    split: Split,
    measures: Mapping[str, Won],
) -> list[Metric]:
    """Play the cells that the record does not hold yet."""
    parts = stage_parts(settings)
    attackers, learners = _names(squad[parts.asks]), _names(squad[parts.answers])
    known = {
        (row.metric.agent, row.metric.opponent)
        for row in bench.run.metrics.read(next(iter(measures)), tags={"split": split})
    }
    pairs = missing(attackers, learners, known)
    fixture = Fixture(
        stage_scenario(settings, split=split, variant="attacked"),
        _sides(parts),
        lineup_of(bench, settings),
        bench.run.info.seed,
        rules.queries,
    )
    played = cells(
        pairs,
        fixture,
        seated=_seated(bench, settings, squad, invent=split == "train"),
        measures=measures,
        tags={"split": split, "critic": bench.chain.policies[parts.judges].agent[:12]},
        step=bench.round,
    )
    found = []
    for metric in played:
        found.append(metric)
        done = len(found) // len(measures)
        bench.watcher.step(done, len(pairs), {metric.name: metric.value})
    return found


def _seated(
    bench: Bench, settings: Settings, squad: Squad, *, invent: bool = True
) -> Callable[[str], Agent]:
    """Return what loads members by name, each once.

    Args:
        bench: of the stage.
        settings: of the run.
        squad: everybody.
        invent: whether archived texts may be said; they are invalid on another split.
    """
    by_name = {member.name: member for group in squad.values() for member in group}

    @cache
    def seated(name: str) -> Agent:
        agent = load(by_name[name], shelf_of(bench, settings))
        if isinstance(agent, Search) and not invent:
            return Search(agent.archive, invent=False)
        return agent

    return seated


def _judged(scenario: Scenario[Any], asks: Role, below: float) -> Won:
    """Return whether who asks won: as the scenario says, else by the verdicts.

    An invalid query failed.
    """

    def won(episode: Episode) -> bool:
        if hasattr(scenario, "beats"):
            winner = winner_of(scenario, episode)
            return winner is not None and role_of(winner) == asks
        score = final_score(episode)
        return score is not None and score < below

    return won


def _fault(episode: Episode) -> bool:
    return any(not answer.right for answer in answered([episode]))


def _harm(episode: Episode) -> bool:
    return any(answer.missed for answer in answered([episode]))


def _names(group: Sequence[Member]) -> list[str]:
    return [member.name for member in group]
