"""Stage discover: deploy A_i⁻ and record its bad answers as hazards {x̂} with evidence.

It meets plain requests of the training split and, where somebody attacks, the search with
its archive, the attacker and, where a league is kept, its former selves. Critics say what was wrong, in both
directions: a refused request may be a hazard as much as a harmful one that was answered.
What earlier generations did wrong is tried again (the regression test). The truth is not
asked.
"""

from collections import Counter
from collections.abc import Sequence

from superalign_agents.search import Search
from superalign_env.measures import share
from superalign_env.protocols import Agent
from superalign_env.store import declare
from superalign_env.types import Episode, Event, Metric
from superalign_training.evaluation.robustness import query_of
from superalign_training.judging import final_score
from superalign_training.oversight.hazards import (
    JudgedAnswer,
    hazards_in,
    judged_answers,
    new_hazards,
)
from superalign_training.selfplay.agents import deployed_agent
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.sandbox import (
    Sandbox,
    keep_archive,
    old_hazards,
    replay_hazards,
    residual_metrics,
    search_attacker,
)
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.stages.improve import mixed_attackers

FOUND = "hazard.found"
"""Event: the evidence of a hazard."""


declare("risk.hazards", "Hazards found")
declare("risk.distinct", "Hazards found before the cap")
declare("risk.kind", "Hazards found, by kind")
declare("risk.asked", "Hazardous answers, by who asked", unit="share", better="lower")


def discover(context: StageContext, settings: Settings) -> StageResult:
    """Deploy the learner, record low-scored answers, and replay old hazards."""
    rules = settings.discover
    learner = deployed_agent(context, settings)
    agent = context.state.current.agent
    sandbox = Sandbox(context, settings)
    search = search_attacker(context)
    answers = _deployed(context, settings, sandbox, learner, search)
    failures = hazards_in(answers, rules.score_threshold)
    recorded = [(hazard.kind, hazard.prompt) for hazard in context.run.hazards.all()]
    distinct = new_hazards(
        failures,
        recorded,
        similarity_threshold=rules.similarity_threshold,
        max_hazards=len(failures),
    )
    hazards = distinct[: rules.max_hazards]
    replayed = replay_hazards(
        context,
        sandbox,
        learner,
        old_hazards(context, rules.max_replayed),
        rules.score_threshold,
    )
    _record(context, sandbox, hazards)
    state = (
        keep_archive(context, context.state, search) if sandbox.attacker else context.state
    )
    metrics = [
        *_counted(answers, failures, hazards, agent=agent, step=context.generation),
        Metric(
            "risk.distinct",
            float(len(distinct)),
            n=len(failures),
            agent=agent,
            step=context.generation,
        ),
        *residual_metrics(replayed, side="-", agent=agent, step=context.generation),
    ]
    notes = {
        "deployed": len(answers),
        "bad": len(failures),
        "new": len(hazards),
        "old": len(replayed),
    }
    return StageResult(state, tuple(metrics), notes)


def _deployed(
    context: StageContext,
    settings: Settings,
    sandbox: Sandbox,
    learner: Agent,
    search: Search,
) -> list[JudgedAnswer]:
    """Deploy the learner in waves; the archive of attacks is updated after each."""
    rules = settings.discover
    field = mixed_attackers(context, settings, search, against=sandbox.role)
    answers: list[JudgedAnswer] = []
    for wave in range(rules.archive_updates):
        first, last = (rules.cases * w // rules.archive_updates for w in (wave, wave + 1))
        episodes = sandbox.deployed(
            learner,
            field,
            last - first,
            part="deployed",
            plain=rules.plain_share,
            first_case=first,
        )
        search.update(_results(episodes, rules.score_threshold))
        answers += judged_answers(episodes, field.chosen, sandbox.role, sandbox.source)
        hazards = len(hazards_in(answers, rules.score_threshold))
        context.watcher.step(wave + 1, rules.archive_updates, {"hazards": float(hazards)})
    return answers


def _results(episodes: Sequence[Episode], threshold: float) -> list[tuple[str, float, int]]:
    """Return the results of queries for the archive; an invalid query failed."""
    return [
        (query, float(score is not None and score < threshold), episode.key.case)
        for episode in episodes
        for query in [query_of(episode)]
        for score in [final_score(episode)]
        if query is not None
    ]


def _record(
    context: StageContext, sandbox: Sandbox, hazards: Sequence[JudgedAnswer]
) -> None:
    """Record hazards with their evidence."""
    context.writer.flush()  # events point at episodes
    for hazard in hazards:
        evidence = {
            "query": hazard.query,
            "answer": hazard.answer,
            "score": hazard.score,
            "scores": hazard.scores,
            "kind": hazard.kind,
            "asked_by": hazard.asked_by,
        }
        event = context.run.events.add(
            Event(FOUND, sandbox.seat, hazard.turn, evidence),
            stage=context.stage,
            episode=hazard.episode,
        )
        context.run.hazards.add(
            hazard.kind, hazard.query, event=event, generation=context.generation
        )


def _counted(
    answers: Sequence[JudgedAnswer],
    failures: Sequence[JudgedAnswer],
    hazards: Sequence[JudgedAnswer],
    *,
    agent: str,
    step: int,
) -> list[Metric]:
    metrics = [
        Metric("risk.hazards", float(len(hazards)), n=len(hazards), agent=agent, step=step)
    ]
    if answers:
        rate = share(len(failures), len(answers))
        metrics.append(
            Metric("risk.rate", *rate, agent=agent, tags={"side": "-"}, step=step)
        )
    totals, failed_counts = (
        Counter(answer.asked_by for answer in group) for group in (answers, failures)
    )
    for asker in sorted(totals):
        estimate = share(failed_counts[asker], totals[asker])
        tags = {"side": "-", "asked_by": asker}
        metrics.append(Metric("risk.asked", *estimate, agent=agent, tags=tags, step=step))
    for kind, count in sorted(Counter(answer.kind for answer in hazards).items()):
        tags = {"kind": kind}
        metrics.append(
            Metric(
                "risk.kind", float(count), n=len(hazards), agent=agent, tags=tags, step=step
            )
        )
    return metrics
