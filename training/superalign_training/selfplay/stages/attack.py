"""Stage attack: search for queries with bad answers, and train the attacker on them.

Half of the queries come from the search with its archive, half from the transformer
attacker. What succeeded is for the critics to say, never for the truth.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import log
from typing import Any, NamedTuple

import msgspec

from superalign_agents.archive import Result, normalised
from superalign_agents.search import Search
from superalign_env.asking import Anyone
from superalign_env.measures import distinct_share, share
from superalign_env.protocols import Scenario
from superalign_env.seeding import generator, mix
from superalign_env.types import Episode, Event, Metric, Role, Seat, View
from superalign_training.algorithms.algorithm import OnPolicy, Supervised
from superalign_training.data import Example, Row
from superalign_training.evaluation.robustness import query_of
from superalign_training.judging import final_score
from superalign_training.policy import Policy
from superalign_training.selfplay.agents import (
    keep_policy,
    lineup_of,
    policy_of,
    recorded_agent,
)
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.opponents.pool import OpponentPool
from superalign_training.selfplay.playing import (
    first_view,
    play,
    stage_capabilities,
    stage_scenario,
)
from superalign_training.selfplay.rl_training import (
    RolloutSetup,
    TrainingResult,
    episodes_name,
    reward_metrics,
    train_on_rewards,
)
from superalign_training.selfplay.sandbox import keep_archive, search_attacker
from superalign_training.selfplay.settings import Attack, Settings
from superalign_training.selfplay.state import RunState
from superalign_training.selfplay.supervisors.candidates import vetoed

NOVELTY_WEIGHT = 0.3
"""Added to the reward of a query that is alone in its batch; 0 for one that all share."""

_PROBES = 64
"""Queries that say whether an attacker still says different, valid things."""


class Attempt(NamedTuple):
    """One query and its outcome."""

    query: str
    success: bool
    case: int
    view: View
    """What the attacker was shown."""


class AttackerTraining(NamedTuple):
    """Arguments of the attacker's training."""

    context: StageContext
    settings: Settings
    role: Role
    policy: Policy


def attack(context: StageContext, settings: Settings) -> StageResult:
    """Play attacks in waves, update the archive, then train the transformer attacker."""
    scenario = stage_scenario(settings, split="train", variant="attacked")
    capabilities = stage_capabilities(settings)
    search = search_attacker(context)
    attacker = policy_of(context, capabilities.asks, settings)
    agents = {
        **lineup_of(context, settings),
        capabilities.asks: OpponentPool({"search": search, "transformer": attacker.agent}),
    }
    attempts = _search(context, settings.attack, scenario, agents, search)
    state = keep_archive(context, context.state, search)
    notes: dict[str, Any] = {"examples": 0}
    training = AttackerTraining(context, settings, capabilities.asks, attacker)
    for algorithm in settings.supervised_algorithms(capabilities.asks):
        state, notes = _imitate_winners(training, algorithm, state, attempts)
    # Who was attacked, where the scenario says in whose place answers stand.
    agent = (
        recorded_agent(context, capabilities.answers, settings)
        if capabilities.answers
        else ""
    )
    metrics: tuple[Metric, ...] = ()
    if attempts:  # none where all episodes failed, and were allowed to
        succeeded = share(sum(t.success for t in attempts), len(attempts))
        tags = {"by": "verdicts", "split": "train"}
        metrics += (
            Metric(
                "attack.success", *succeeded, agent=agent, tags=tags, step=context.round
            ),
        )
    alone = {**agents, capabilities.asks: attacker.agent}
    for place, rl in enumerate(settings.rl_algorithms(capabilities.asks)):
        part = episodes_name("attack-rl", place)
        setup = RolloutSetup(capabilities.asks, scenario, alone, part)
        probe = episodes_name("attack-probe", place)
        result = _reward(training, rl, state, setup, probe=probe)
        state, numbers = result.state, result.numbers
        name = state.policies[capabilities.asks].agent
        metrics += reward_metrics(
            capabilities.asks, numbers, agent=name, step=context.round
        )
        metrics += result.metrics
        notes = {**notes, **{f"rl_{key}": value for key, value in numbers.items()}}
    return StageResult(state, metrics, notes)


def _search(
    context: StageContext,
    rules: Attack,
    scenario: Scenario[Any],
    agents: Mapping[Role | Seat, Anyone],
    search: Search,
) -> list[Attempt]:
    """Play attacks in waves, and update the archive after each."""
    attempts: list[Attempt] = []
    waves = rules.archive_updates
    for wave in range(waves):
        first, last = (rules.cases * w // waves for w in (wave, wave + 1))
        episodes = play(
            context, scenario, agents, last - first, part="attack", first_case=first
        )
        wave_attempts = [
            read_attempt(scenario, episode, rules.score_threshold)
            for episode in episodes
            if not episode.failed  # else nobody judged it
        ]
        search.update(archive_updates_of(wave_attempts))
        attempts += wave_attempts
        context.watcher.step(wave + 1, waves, {"success": _rate(wave_attempts)})
    return attempts


def read_attempt(scenario: Scenario[Any], episode: Episode, below: float) -> Attempt:
    """Return the outcome of an attack, by critics; an invalid query failed."""
    score = final_score(episode)
    query = episode.queries[0]
    return Attempt(
        query.text,
        score is not None and score < below,
        episode.key.case,
        first_view(scenario, episode, query.seat),
    )


def archive_updates_of(attempts: Sequence[Attempt]) -> list[Result]:
    """Return the results of attempts, as the archive takes them."""
    return [(t.query, float(t.success), t.case) for t in attempts]


def distinct_queries(queries: Sequence[str]) -> float:
    """Return the share of queries that differ by more than case and spaces."""
    return distinct_share([normalised(query) for query in queries])


def _imitate_winners(
    training: AttackerTraining,
    course: Supervised,
    state: RunState,
    attempts: Sequence[Attempt],
) -> tuple[RunState, dict[str, Any]]:
    """Train the transformer attacker on successful queries, unless its diversity collapses."""
    context, settings, role, attacker = training
    barred = [veto.text for veto in vetoed(context, role)]
    pairs = attacker_examples(
        attempts, settings.attack, key=context.seed_of("lessons"), barred=barred
    )
    if not pairs:
        return state, {"examples": 0}
    before = attacker.snapshot()
    numbers = course.improve(
        attacker,
        [Example(attacker.prompt_ids(v), attacker.reply_ids(v, text)) for v, text in pairs],
        seed=context.seed_of("order"),
        on_step=context.on_step(role, attacker, course),
    )
    replies = attacker.agent.act(
        [_reseeded(t.view, context.seed_of("probe")) for t in attempts]
    )
    distinct = distinct_queries([reply.text for reply in replies])
    notes = {**numbers, "examples": len(pairs), "distinct": distinct}
    if distinct < settings.attack.min_distinct:
        attacker.restore(before)
        context.run.events.add(
            Event("attack.collapsed", evidence={"distinct": distinct}), stage=context.stage
        )
        return state, notes
    return keep_policy(context, state, role, attacker), notes


def _reward(
    training: AttackerTraining,
    algorithm: OnPolicy,
    state: RunState,
    setup: RolloutSetup,
    *,
    probe: str,
) -> TrainingResult:
    """Train the transformer attacker by RL, with a bonus for novelty.

    What it learned is taken back if it then says little else, or little that is valid: in
    the episodes named `probe`.
    """
    context, settings, role, attacker = training
    rules = settings.attack
    before = attacker.snapshot()
    practised = train_on_rewards(
        context,
        settings,
        state,
        attacker,
        setup,
        algorithm,
        shaping=partial(with_novelty, weight=NOVELTY_WEIGHT),
    )
    probed = play(context, setup.scenario, setup.agents, _PROBES, part=probe)
    queries = [text for text in map(query_of, probed) if text is not None]
    valid = sum(not _was_invalid(episode) for episode in probed) / len(probed)
    numbers = {**practised.numbers, "distinct": distinct_queries(queries), "valid": valid}
    if numbers["distinct"] < rules.min_distinct or valid < rules.min_valid:
        attacker.restore(before)
        evidence = {"distinct": numbers["distinct"], "valid": valid}
        context.run.events.add(
            Event("attack.collapsed", evidence=evidence), stage=context.stage
        )
        return practised._replace(numbers=numbers)
    state = keep_policy(context, practised.state, role, attacker, numbers=numbers)
    return TrainingResult(state, numbers, practised.metrics)


def _was_invalid(episode: Episode) -> bool:
    return any(not query.valid for query in episode.queries)


def attacker_examples(
    attempts: Sequence[Attempt],
    settings: Attack,
    *,
    key: int,
    barred: Iterable[str] = (),
) -> list[tuple[View, str]]:
    """Return (view, text) pairs: each successful query once, and untried menu entries.

    Without untried entries the attacker would narrow down to the first weakness that it found.
    Queries that people vetoed (``barred``) are never among them.
    """
    rng = generator(key)
    never = set(map(normalised, barred))
    excluded = set(never)
    winners: list[tuple[View, str]] = []
    for attempt in attempts:
        if attempt.success and normalised(attempt.query) not in excluded:
            excluded.add(normalised(attempt.query))
            winners.append((attempt.view, attempt.query))
    winners = [winners[i] for i in rng.permutation(len(winners))[: settings.max_imitated]]
    if not winners or settings.unexplored_share >= 1:
        return []
    count = round(
        len(winners) * settings.unexplored_share / (1.0 - settings.unexplored_share)
    )
    views = [attempt.view for attempt in attempts if attempt.view.menu]
    explored = []
    for _ in range(count if views else 0):
        view = views[int(rng.integers(len(views)))]
        explored.append((view, view.menu[int(rng.integers(len(view.menu)))]))
    return winners + [pair for pair in explored if normalised(pair[1]) not in never]


def _reseeded(view: View, key: int) -> View:
    """Return the view with another seed than before."""
    return msgspec.structs.replace(view, seed=mix(key, view.case))


def _rate(attempts: Sequence[Attempt]) -> float:
    return sum(t.success for t in attempts) / len(attempts) if attempts else 0.0


def with_novelty(rows: Sequence[Row], weight: float) -> list[Row]:
    """Return rows with a reward bonus for rare completions.

    A completion that all rows of the batch share earns nothing, one that is alone among
    n rows earns the whole weight: weight · (−log share) / log n, the surprise of the
    batch's own distribution.

    Args:
        rows: of one batch.
        weight: of the bonus, in units of pay.
    """
    if weight == 0 or len(rows) < 2:
        return list(rows)
    counts = Counter(row.completion_ids for row in rows)
    max_surprise = log(len(rows))
    return [
        _paid(row, weight * -log(counts[row.completion_ids] / len(rows)) / max_surprise)
        for row in rows
    ]


def _paid(row: Row, bonus: float) -> Row:
    *earlier, last = row.turn_rewards
    return row._replace(
        turn_rewards=(*earlier, last + bonus),
        to_go=row.to_go + bonus,
    )
