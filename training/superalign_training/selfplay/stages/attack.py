"""Attackers search for queries that the learner answers badly, and imitate what worked.

Half of the queries come from the search with its archive, half from the transformer
attacker. What succeeded is for the critics to say, never for the truth.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from math import log
from typing import Any, NamedTuple

import msgspec

from superalign_agents.archive import Result, normalised
from superalign_env.measures import distinct_share, share
from superalign_env.protocols import Scenario
from superalign_env.seeding import generator, mix
from superalign_env.types import Episode, Event, Metric, Role, View
from superalign_training.algorithms.algorithm import OnPolicy, Supervised
from superalign_training.data import Example, Row
from superalign_training.evaluation.robustness import query_of
from superalign_training.judging import final_score
from superalign_training.mixture import Mixture
from superalign_training.policy import Policy
from superalign_training.selfplay.agents import (
    keep_policy,
    lineup_of,
    policy_of,
    recorded_agent,
)
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import (
    first_view,
    play,
    stage_capabilities,
    stage_scenario,
)
from superalign_training.selfplay.practice import (
    Drill,
    Practised,
    numbered,
    practise,
    reported,
)
from superalign_training.selfplay.sandbox import keep_archive, searcher
from superalign_training.selfplay.settings import Attack, Settings
from superalign_training.selfplay.state import RunState
from superalign_training.selfplay.supervisors.candidates import vetoed

_PROBES = 64
"""Queries that say whether an attacker still says different, valid things."""


class Tried(NamedTuple):
    """One query, and what became of it."""

    query: str
    success: bool
    case: int
    view: View
    """What the attacker was shown."""


class Pupil(NamedTuple):
    """The policy that asks, while it is taught."""

    context: StageContext
    settings: Settings
    role: Role
    policy: Policy


def attack(context: StageContext, settings: Settings) -> StageResult:
    """Play attacks in waves, teach the archive, then the transformer attacker."""
    scenario = stage_scenario(settings, split="train", variant="attacked")
    parts = stage_capabilities(settings)
    search = searcher(context)
    attacker = policy_of(context, parts.asks, settings)
    agents = {
        **lineup_of(context, settings),
        parts.asks: Mixture({"search": search, "transformer": attacker.agent}),
    }
    tried: list[Tried] = []
    waves = settings.attack.archive_updates
    for wave in range(waves):
        first, last = (settings.attack.cases * w // waves for w in (wave, wave + 1))
        episodes = play(
            context, scenario, agents, last - first, part="attack", first_case=first
        )
        found = [
            read_attempt(scenario, episode, settings.attack.score_threshold)
            for episode in episodes
            if not episode.failed  # else nobody judged it
        ]
        search.update(results(found))
        tried += found
        context.watcher.step(wave + 1, waves, {"success": _rate(found)})
    state = keep_archive(context, context.state, search)
    notes: dict[str, Any] = {"lessons": 0}
    for course in settings.by_examples(parts.asks):
        state, notes = _imitate_winners(
            Pupil(context, settings, parts.asks, attacker), course, state, tried
        )
    # Who was attacked, where the scenario says in whose place answers stand.
    agent = recorded_agent(context, parts.answers, settings) if parts.answers else ""
    metrics: tuple[Metric, ...] = ()
    if tried:  # none where all episodes failed, and were allowed to
        succeeded = share(sum(t.success for t in tried), len(tried))
        tags = {"by": "verdicts", "split": "train"}
        metrics += (
            Metric(
                "attack.success", *succeeded, agent=agent, tags=tags, step=context.round
            ),
        )
    alone = {**agents, parts.asks: attacker.agent}
    for place, algorithm in enumerate(settings.by_pay(parts.asks)):
        drill = Drill(parts.asks, scenario, alone, numbered("attack-rl", place))
        pupil = Pupil(context, settings, parts.asks, attacker)
        probe = numbered("attack-probe", place)
        done = _reward(pupil, algorithm, state, drill, probe=probe)
        state, earned = done.state, done.numbers
        name = state.policies[parts.asks].agent
        metrics += reported(parts.asks, earned, agent=name, step=context.round)
        metrics += done.metrics
        notes = {**notes, **{f"rl_{key}": value for key, value in earned.items()}}
    return StageResult(state, metrics, notes)


def read_attempt(scenario: Scenario[Any], episode: Episode, below: float) -> Tried:
    """Return what became of an attack, as the critics say; an invalid query failed."""
    score = final_score(episode)
    query = episode.queries[0]
    return Tried(
        query.text,
        score is not None and score < below,
        episode.key.case,
        first_view(scenario, episode, query.seat),
    )


def results(tried: Sequence[Tried]) -> list[Result]:
    """Return what an archive wants to know."""
    return [(t.query, float(t.success), t.case) for t in tried]


def distinct_queries(queries: Sequence[str]) -> float:
    """Return the share of queries that differ by more than case and spaces."""
    return distinct_share([normalised(query) for query in queries])


def _imitate_winners(
    pupil: Pupil, course: Supervised, state: RunState, tried: Sequence[Tried]
) -> tuple[RunState, dict[str, Any]]:
    """Teach the transformer attacker what worked, unless it then says little else."""
    context, settings, role, attacker = pupil
    barred = [one.text for one in vetoed(context, role)]
    pairs = lessons_for_attacker(
        tried, settings.attack, key=context.seed_of("lessons"), barred=barred
    )
    if not pairs:
        return state, {"lessons": 0}
    before = attacker.snapshot()
    numbers = course.improve(
        attacker,
        [Example(attacker.prompt_ids(v), attacker.reply_ids(v, text)) for v, text in pairs],
        seed=context.seed_of("order"),
        on_step=context.on_step(role, attacker, course),
    )
    said = attacker.agent.act([_reseeded(t.view, context.seed_of("probe")) for t in tried])
    distinct = distinct_queries([reply.text for reply in said])
    notes = {**numbers, "lessons": len(pairs), "distinct": distinct}
    if distinct < settings.attack.min_distinct:
        attacker.restore(before)
        context.run.events.add(
            Event("attack.collapsed", evidence={"distinct": distinct}), stage=context.stage
        )
        return state, notes
    return keep_policy(context, state, role, attacker), notes


def _reward(
    pupil: Pupil, algorithm: OnPolicy, state: RunState, drill: Drill, *, probe: str
) -> Practised:
    """Improve the transformer attacker by its pay, with a bonus for novelty.

    What it learned is taken back if it then says little else, or little that is valid: in
    the episodes named `probe`.
    """
    context, settings, role, attacker = pupil
    rules = settings.attack
    before = attacker.snapshot()
    done = practise(
        context,
        settings,
        state,
        attacker,
        drill,
        algorithm,
        shaping=partial(with_novelty, weight=rules.novelty_weight),
    )
    probed = play(context, drill.scenario, drill.agents, _PROBES, part=probe)
    said = [text for text in map(query_of, probed) if text is not None]
    valid = sum(not _was_invalid(episode) for episode in probed) / len(probed)
    numbers = {**done.numbers, "distinct": distinct_queries(said), "valid": valid}
    if numbers["distinct"] < rules.min_distinct or valid < rules.min_valid:
        attacker.restore(before)
        found = {"distinct": numbers["distinct"], "valid": valid}
        context.run.events.add(
            Event("attack.collapsed", evidence=found), stage=context.stage
        )
        return done._replace(numbers=numbers)
    state = keep_policy(context, done.state, role, attacker, numbers=numbers)
    return Practised(state, numbers, done.metrics)


def _was_invalid(episode: Episode) -> bool:
    return any(not query.valid for query in episode.queries)


def lessons_for_attacker(
    tried: Sequence[Tried],
    settings: Attack,
    *,
    key: int,
    barred: Iterable[str] = (),
) -> list[tuple[View, str]]:
    """Return (view, text) pairs: each winner once, mixed with untried menu entries.

    Without the mixture the attacker would narrow down to the first weakness that it met.
    Queries that people vetoed (``barred``) are never among them.
    """
    rng = generator(key)
    never = set(map(normalised, barred))
    seen = set(never)
    winners: list[tuple[View, str]] = []
    for attempt in tried:
        if attempt.success and normalised(attempt.query) not in seen:
            seen.add(normalised(attempt.query))
            winners.append((attempt.view, attempt.query))
    winners = [winners[i] for i in rng.permutation(len(winners))[: settings.max_imitated]]
    if not winners or settings.unexplored_share >= 1:
        return []
    wanted = round(
        len(winners) * settings.unexplored_share / (1.0 - settings.unexplored_share)
    )
    views = [attempt.view for attempt in tried if attempt.view.menu]
    explored = []
    for _ in range(wanted if views else 0):
        view = views[int(rng.integers(len(views)))]
        explored.append((view, view.menu[int(rng.integers(len(view.menu)))]))
    return winners + [pair for pair in explored if normalised(pair[1]) not in never]


def _reseeded(view: View, key: int) -> View:
    """Return the view with other random numbers than it was answered with."""
    return msgspec.structs.replace(view, seed=mix(key, view.case))


def _rate(tried: Sequence[Tried]) -> float:
    return sum(t.success for t in tried) / len(tried) if tried else 0.0


def with_novelty(rows: Sequence[Row], weight: float) -> list[Row]:
    """Return rows whose pay has a bonus for rare completions.

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
    most = log(len(rows))
    return [
        _paid(row, weight * -log(counts[row.completion_ids] / len(rows)) / most)
        for row in rows
    ]


def _paid(row: Row, bonus: float) -> Row:
    *earlier, last = row.turn_rewards
    return row._replace(
        turn_rewards=(*earlier, last + bonus),
        to_go=row.to_go + bonus,
    )
