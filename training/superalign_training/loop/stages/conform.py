"""A_i⁻ is taught the safe answer ŷ to each hazard x̂, and becomes A_i⁺.

ŷ is written by weaker aligned generations, other models, personas and people, and by the
preference of critics; in the first generation there are no ancestors, and the others do it.
Ordinary requests with their ŷ are taught beside them, so that what is learned is when to
refuse and not to refuse, and the learner's own answers to general tasks are replayed, so
that competence is kept. The truth is not asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.game import Game
from superalign_env.measures import share
from superalign_env.store.hazards import Hazard
from superalign_env.types import EpisodeKey, Event, Metric, Task, View
from superalign_scenarios.weak_to_strong import key_of
from superalign_training.algorithms.making import Taught, learns_from
from superalign_training.experience import Example, Opinion, Preference
from superalign_training.experience.balance import (
    even_examples,
    even_opinions,
    even_pairs,
)
from superalign_training.judging import last_answer
from superalign_training.loop.cast import keep_policy, policy_of
from superalign_training.loop.courses import Courses, hold, replayed
from superalign_training.loop.driver import Bench, Outcome
from superalign_training.loop.panel import tasks_of
from superalign_training.loop.safe_answers import Safe, safe_answers
from superalign_training.loop.sandbox import Sandbox, hazard_task
from superalign_training.policy import Policy
from superalign_training.risks import Conform
from superalign_training.settings import Settings

ANSWERED = "hazard.answered"
"""Event: a safe answer, and who gave it."""


class Told(NamedTuple):
    """One request with what should be answered, and what should not."""

    task: Task
    safe: str
    sources: tuple[str, ...]
    confidence: float
    bad: str
    """What was answered badly; empty if nothing was."""


def conform(bench: Bench, settings: Settings, *, effort: int = 1) -> Outcome:
    """Have hazards answered, and teach the answers.

    Args:
        bench: of the stage.
        settings: of the run.
        effort: multiplies hazards, ordinary requests, people's answers and steps:
            conformity that comes last makes up for the generations that had none.
    """
    rules = settings.conform
    learner = policy_of(bench, "learner", settings)
    sandbox = Sandbox(bench, settings)
    hazards, known = _chosen(bench, sandbox, rules.hazards * effort)
    ordinary = _drawn(bench, sandbox, rules.ordinary * effort)
    tasks = [*(task for _, task in hazards), *ordinary]
    if not tasks and not known:
        return Outcome(bench.chain, notes={"lessons": 0})
    written = safe_answers(
        bench,
        settings,
        sandbox,
        learner,
        tasks,
        hazards=len(hazards),
        people=rules.people * effort,
    )
    told, fresh = _told(bench, hazards, written.answers)
    lessons = _lessons(bench, rules, sandbox, learner, [*told, *known])
    notes: dict[str, Any] = {
        "hazards": len(hazards),
        "answered": len(fresh),
        "again": len(known),
        "lessons": len(lessons),
        "answers of people": written.people,
    }
    if not lessons:
        return Outcome(bench.chain, notes=notes)
    replay = replayed(bench, settings, rules.replay, learner.agent, tasks_of(settings))
    algorithm = _longer(rules.algorithm, effort)
    numbers = hold(
        bench,
        learner,
        Courses(algorithm, lessons, replay, rules.replay.imitation, turns=rules.courses),
    )
    chain = keep_policy(bench, bench.chain, "learner", learner, side="+")
    for name in fresh:
        bench.run.hazards.update(name, status="trained")
    agent = chain.policies["learner"].agent
    metrics = [
        Metric("conform.lessons", float(len(lessons)), agent=agent, step=bench.generation),
        Metric("conform.loss", numbers["loss"], agent=agent, step=bench.generation),
        *_learned(bench, sandbox, learner, [t for t in (*told, *known) if t.bad], agent),
    ]
    return Outcome(chain, tuple(metrics), {**notes, **numbers, "replayed": len(replay)})


def _chosen(
    bench: Bench, sandbox: Sandbox, most: int
) -> tuple[list[tuple[Hazard, Task]], list[Told]]:
    """Return open hazards, the newest generation's first, and answered ones of earlier ones.

    A generation begins with a fresh policy: what earlier ones were taught it has to be
    taught again.
    """
    found = [
        (hazard, task)
        for hazard in sorted(bench.run.hazards.all(), key=lambda h: -h.generation)
        for task in [hazard_task(sandbox, bench, hazard)]
        if task is not None
    ]
    open_ = [pair for pair in found if not pair[0].safe][:most]
    old = [pair for pair in found if pair[0].safe][: most - len(open_)]
    said = {
        str(h.event.evidence["hazard"]): h.event.evidence
        for h in bench.run.events.read(kind=ANSWERED)
    }
    return open_, [
        Told(
            task,
            hazard.safe,
            tuple(said[hazard.id]["sources"]),
            float(said[hazard.id]["confidence"]),
            str(said[hazard.id]["bad"]),
        )
        for hazard, task in old
        if hazard.id in said
    ]


def _drawn(bench: Bench, sandbox: Sandbox, count: int) -> list[Task]:
    """Return ordinary requests."""
    key = bench.seed_of("ordinary")
    return [
        Game(sandbox.plain, EpisodeKey(key, bench.generation, bench.round, case)).task
        for case in range(count)
    ]


def _told(
    bench: Bench, hazards: Sequence[tuple[Hazard, Task]], answers: Sequence[Safe]
) -> tuple[list[Told], list[str]]:
    """Record what was answered to hazards; return what can be taught, and their names."""
    evidence = {h.id: h.event.evidence for h in bench.run.events.read(kind="hazard.found")}
    told, fresh = [], []
    for safe in answers:
        label = safe.label
        if label is None:
            continue
        hazard = hazards[safe.case][0] if safe.case < len(hazards) else None
        bad = safe.own if key_of(safe.own) != key_of(label.answer) else ""
        if hazard is not None:
            known = evidence.get(hazard.event or 0, {})
            bad = str(known.get("answer", bad))
            _answer(bench, hazard, safe, bad)
            fresh.append(hazard.id)
        told.append(Told(safe.task, label.answer, label.sources, label.confidence, bad))
    return told, fresh


def _answer(bench: Bench, hazard: Hazard, safe: Safe, bad: str) -> None:
    assert safe.label is not None
    evidence = {
        "hazard": hazard.id,
        "safe": safe.label.answer,
        "bad": bad,
        "sources": list(safe.label.sources),
        "confidence": safe.label.confidence,
    }
    bench.writer.flush()
    bench.run.events.add(
        Event(ANSWERED, evidence=evidence), stage=bench.stage, episode=safe.episode
    )
    bench.run.hazards.update(hazard.id, safe=safe.label.answer, status="answered")


def _lessons(
    bench: Bench,
    rules: Conform,
    sandbox: Sandbox,
    learner: Policy,
    told: Sequence[Told],
) -> list[Any]:
    """Return lessons of the kind that the algorithm learns from."""
    key = bench.seed_of("evened")
    kinds = learns_from(type(rules.algorithm))
    rows = [(one, _view(sandbox, one.task)) for one in told]
    if Preference in kinds:
        pairs = [
            Preference(
                learner.prompt_ids(view),
                learner.reply_ids(view, one.safe),
                learner.reply_ids(view, one.bad),
                one.sources,
            )
            for one, view in rows
            if one.bad and key_of(one.bad) != key_of(one.safe)
        ]
        return list(even_pairs(pairs, key=key) if rules.even else pairs)
    if Opinion in kinds:
        said = [
            Opinion(
                learner.prompt_ids(view), learner.reply_ids(view, text), good, one.sources
            )
            for one, view in rows
            for text, good in ((one.safe, True), (one.bad, False))
            if text and (good or key_of(text) != key_of(one.safe))
        ]
        said = even_opinions(said, key=key) if rules.even else said
        return list(said) if len({one.good for one in said}) == 2 else []
    shown = [
        Example(
            learner.prompt_ids(view),
            learner.reply_ids(view, one.safe),
            one.sources,
            one.confidence,
        )
        for one, view in rows
    ]
    return list(even_examples(shown, key=key) if rules.even else shown)


def _view(sandbox: Sandbox, task: Task) -> View:
    """Return what the learner reads when it is asked."""
    return Game(sandbox.plain, EpisodeKey(), task=task).view(sandbox.seat)


def _learned(
    bench: Bench, sandbox: Sandbox, learner: Policy, told: Sequence[Told], agent: str
) -> list[Metric]:
    """Return on which share of the hazards that were taught it now says ŷ."""
    if not told:
        return []
    tasks = [one.task for one in told]
    episodes = sandbox.asked(learner.agent, len(tasks), part="taught", tasks=tasks)
    said = [last_answer(episode) for episode in episodes]
    right = sum(
        answer is not None and key_of(answer.text) == key_of(one.safe)
        for one, answer in zip(told, said, strict=True)
    )
    found = share(right, len(told))
    return [Metric("conform.learned", *found, agent=agent, step=bench.generation)]


def _longer(algorithm: Taught, effort: int) -> Taught:
    """Return the algorithm with more steps."""
    if effort == 1:
        return algorithm
    changed: Mapping[str, Any] = {"steps": algorithm.steps * effort}
    return algorithm.model_copy(update=changed)  # type: ignore[attr-defined, no-any-return]
