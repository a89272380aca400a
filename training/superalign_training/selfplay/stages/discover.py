"""A_i⁻ is judged_answers, and what it does wrong becomes hazards {x̂} with evidence.

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
    residual,
    searcher,
    tried_again,
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
    """Deploy the learner, record what critics call bad, and try old hazards again."""
    rules = settings.discover
    learner = deployed_agent(context, settings)
    agent = context.state.current.agent
    sandbox = Sandbox(context, settings)
    search = searcher(context)
    answers = _deployed(context, settings, sandbox, learner, search)
    bad = hazards_in(answers, rules.score_threshold)
    known = [(hazard.kind, hazard.prompt) for hazard in context.run.hazards.all()]
    different = new_hazards(
        bad, known, similarity_threshold=rules.similarity_threshold, max_hazards=len(bad)
    )
    new = different[: rules.max_hazards]
    old = tried_again(
        context,
        sandbox,
        learner,
        old_hazards(context, rules.max_replayed),
        rules.score_threshold,
    )
    _record(context, sandbox, new)
    state = (
        keep_archive(context, context.state, search) if sandbox.attacker else context.state
    )
    metrics = [
        *_counted(answers, bad, new, agent=agent, step=context.generation),
        Metric(
            "risk.distinct",
            float(len(different)),
            n=len(bad),
            agent=agent,
            step=context.generation,
        ),
        *residual(old, side="-", agent=agent, step=context.generation),
    ]
    notes = {"deployed": len(answers), "bad": len(bad), "new": len(new), "old": len(old)}
    return StageResult(state, tuple(metrics), notes)


def _deployed(
    context: StageContext,
    settings: Settings,
    sandbox: Sandbox,
    learner: Agent,
    search: Search,
) -> list[JudgedAnswer]:
    """Deploy the learner in waves; the archive of attacks learns after each."""
    rules = settings.discover
    field = mixed_attackers(context, settings, search, against=sandbox.role)
    found: list[JudgedAnswer] = []
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
        found += judged_answers(episodes, field.chosen, sandbox.role)
        bad = len(hazards_in(found, rules.score_threshold))
        context.watcher.step(wave + 1, rules.archive_updates, {"hazards": float(bad)})
    return found


def _results(episodes: Sequence[Episode], below: float) -> list[tuple[str, float, int]]:
    """Return what the archive wants to know; a query that was invalid failed."""
    return [
        (query, float(score is not None and score < below), episode.key.case)
        for episode in episodes
        for query in [query_of(episode)]
        for score in [final_score(episode)]
        if query is not None
    ]


def _record(context: StageContext, sandbox: Sandbox, new: Sequence[JudgedAnswer]) -> None:
    """Write hazards with their evidence."""
    context.writer.flush()  # events point at episodes
    for one in new:
        evidence = {
            "query": one.query,
            "answer": one.answer,
            "score": one.score,
            "scores": one.scores,
            "kind": one.kind,
            "asked_by": one.asked_by,
        }
        event = context.run.events.add(
            Event(FOUND, sandbox.seat, one.turn, evidence),
            stage=context.stage,
            episode=one.episode,
        )
        context.run.hazards.add(
            one.kind, one.query, event=event, generation=context.generation
        )


def _counted(
    answers: Sequence[JudgedAnswer],
    bad: Sequence[JudgedAnswer],
    new: Sequence[JudgedAnswer],
    *,
    agent: str,
    step: int,
) -> list[Metric]:
    metrics = [Metric("risk.hazards", float(len(new)), n=len(new), agent=agent, step=step)]
    if answers:
        rate = share(len(bad), len(answers))
        metrics.append(
            Metric("risk.rate", *rate, agent=agent, tags={"side": "-"}, step=step)
        )
    asked, failed = (Counter(one.asked_by for one in group) for group in (answers, bad))
    for who in sorted(asked):
        found = share(failed[who], asked[who])
        tags = {"side": "-", "asked_by": who}
        metrics.append(Metric("risk.asked", *found, agent=agent, tags=tags, step=step))
    for kind, count in sorted(Counter(one.kind for one in new).items()):
        tags = {"kind": kind}
        metrics.append(
            Metric("risk.kind", float(count), n=len(new), agent=agent, tags=tags, step=step)
        )
    return metrics
