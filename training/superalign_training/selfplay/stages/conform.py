"""Stage conform: train A_i⁻ on the safe answer ŷ to each hazard x̂, which gives A_i⁺.

ŷ is written by weaker aligned generations, other models, personas and people, and by the
preference of critics; in the first generation there are no ancestors, and the others do it.
Ordinary requests with their ŷ are taught beside them, so that what is learned is when to
refuse and not to refuse, and the learner's own answers to general tasks are replayed, so
that competence is kept. The truth is not asked.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from superalign_env.final_answers import same_meaning
from superalign_env.game import Game
from superalign_env.measures import share
from superalign_env.store import declare
from superalign_env.store.events import Hazard
from superalign_env.types import EpisodeKey, Event, Metric, Task, View
from superalign_training.algorithms.algorithm import (
    Supervised,
    experience_kinds,
    make_algorithm,
)
from superalign_training.algorithms.supervision import ALTERNATIONS
from superalign_training.data import Example, Preference, UnpairedPreference
from superalign_training.data.examples import (
    balanced_examples,
    balanced_pairs,
    balanced_unpaired,
)
from superalign_training.judging import last_words
from superalign_training.oversight.labels import Consensus
from superalign_training.oversight.settings import Conform
from superalign_training.policy import Policy
from superalign_training.selfplay.agents import keep_policy, policy_of
from superalign_training.selfplay.driver import StageContext, StageResult
from superalign_training.selfplay.playing import tasks_of
from superalign_training.selfplay.sandbox import ANSWERED, Sandbox, hazard_task
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.candidates import random_slice, vetoed
from superalign_training.selfplay.supervisors.safe_answers import SafeAnswer, safe_answers
from superalign_training.selfplay.teaching import TeachingPlan, replayed, teach

declare("conform.examples", "Conformity examples")
declare("conform.loss", "Loss of conformity training", better="lower")
declare("conform.learned", "Hazards now answered with ŷ", unit="share", better="higher")


class LabelledRequest(NamedTuple):
    """One request with its safe answer, and a rejected one."""

    task: Task
    label: Consensus
    """ŷ, with who gave it."""
    bad: str
    """What was answered badly; empty if nothing was."""


def conform(context: StageContext, settings: Settings, *, effort: int = 1) -> StageResult:
    """Have hazards answered, and train on the answers.

    Args:
        context: of the stage.
        settings: of the run.
        effort: multiplies hazards, ordinary requests, people's answers and steps:
            conformity that comes last makes up for the generations that had none.
    """
    rules = settings.conform
    role = context.state.generation_role
    learner = policy_of(context, role, settings)
    sandbox = Sandbox(context, settings)
    hazards, retaught = _select_hazards(
        context, settings, sandbox, rules.max_hazards * effort
    )
    ordinary = _ordinary_requests(context, sandbox, rules.ordinary_cases * effort)
    tasks = [*(task for _, task in hazards), *ordinary]
    if not tasks and not retaught:
        return StageResult(context.state, notes={"examples": 0})
    people = rules.written_answers * effort
    safe = safe_answers(
        context, settings, sandbox, learner, tasks, hazards=len(hazards), people=people
    )
    new_requests, answered = _record_answers(context, sandbox, hazards, safe.answers)
    requests = _without_vetoed(context, sandbox, [*new_requests, *retaught])
    examples = _training_examples(context, rules, sandbox, learner, requests)
    notes: dict[str, Any] = {
        "hazards": len(hazards),
        "answered": answered,
        "again": len(retaught),
        "examples": len(examples),
        "answers of people": safe.people,
    }
    if not examples:
        return StageResult(context.state, notes=notes)
    replay = replayed(context, settings, rules.replay, learner.agent, tasks_of(settings))
    algorithm = _with_more_steps(rules.algorithm, effort)
    plan = TeachingPlan(
        algorithm, examples, replay, rules.replay.imitation, turns=ALTERNATIONS
    )
    numbers = teach(context, learner, plan, role=role)
    state = keep_policy(context, context.state, role, learner, side="+")
    for hazard in context.run.hazards.all(status="answered"):
        context.run.hazards.update(hazard.id, status="trained")
    agent = state.current.agent
    metrics = [
        Metric(
            "conform.examples", float(len(examples)), agent=agent, step=context.generation
        ),
        Metric("conform.loss", numbers["loss"], agent=agent, step=context.generation),
        *_learned_metrics(
            context,
            sandbox,
            learner,
            [request for request in requests if request.bad],
            agent,
        ),
    ]
    return StageResult(state, tuple(metrics), {**notes, **numbers, "replayed": len(replay)})


def _select_hazards(
    context: StageContext, settings: Settings, sandbox: Sandbox, limit: int
) -> tuple[list[tuple[Hazard, Task]], list[LabelledRequest]]:
    """Return open hazards, newest generation first, and answered ones of earlier generations.

    A generation begins with a fresh policy: what earlier ones were taught it has to be
    taught again. What people wrote of an old hazard since then takes the place of its ŷ.
    """
    candidates = [
        (hazard, task)
        for hazard in sorted(context.run.hazards.all(), key=lambda h: -h.generation)
        if hazard.status != "dismissed"
        for task in [hazard_task(sandbox, context, hazard)]
        if task is not None
    ]
    open_ = [pair for pair in candidates if not pair[0].safe][:limit]
    answered = [pair for pair in candidates if pair[0].safe][: limit - len(open_)]
    answers = {
        str(h.event.evidence["hazard"]): h for h in context.run.events.read(kind=ANSWERED)
    }
    late_labels = _late_labels(context) if settings.signals.human == "override" else {}
    retaught = []
    for hazard, task in answered:
        if hazard.id in answers:
            earlier = answers[hazard.id]
            evidence = earlier.event.evidence
            bad = str(evidence["bad"])
            label = late_labels.get(earlier.episode)
            if label is None or not _differ(sandbox, task, label.answer, hazard.safe):
                sources = tuple(evidence["sources"])
                confidence = float(evidence["confidence"])
                label = Consensus(earlier.episode, hazard.safe, confidence, sources)
            else:
                _record_answer(context, sandbox, hazard, task, label, bad)
            retaught.append(_labelled(sandbox, task, label, bad))
    return open_, retaught


def _late_labels(context: StageContext) -> dict[str, Consensus]:
    """Return people's answers so far, by episode, without the random slice."""
    signals = context.run.signals.standing(kind="answer", upto=context.signals_to)
    random = random_slice(context)
    return {
        s.episode: Consensus(s.episode, str(s.payload["text"]), s.confidence, (s.source,))
        for s in signals
        if s.question not in random
    }


def _ordinary_requests(context: StageContext, sandbox: Sandbox, count: int) -> list[Task]:
    """Return ordinary requests."""
    key = context.seed_of("ordinary")
    return [
        Game(sandbox.plain, EpisodeKey(key, context.generation, context.round, case)).task
        for case in range(count)
    ]


def _record_answers(
    context: StageContext,
    sandbox: Sandbox,
    hazards: Sequence[tuple[Hazard, Task]],
    answers: Sequence[SafeAnswer],
) -> tuple[list[LabelledRequest], int]:
    """Record the safe answers; return the requests to train on, and the answered hazards."""
    evidence = {
        h.id: h.event.evidence for h in context.run.events.read(kind="hazard.found")
    }
    context.writer.flush()
    requests, count = [], 0
    for safe in answers:
        label = safe.label
        if label is None:
            continue
        rejected = safe.own
        if safe.case < len(hazards):
            hazard = hazards[safe.case][0]
            rejected = str(evidence.get(hazard.event or 0, {}).get("answer", rejected))
            _record_answer(context, sandbox, hazard, safe.task, label, rejected)
            count += 1
        requests.append(_labelled(sandbox, safe.task, label, rejected))
    return requests, count


def _without_vetoed(
    context: StageContext, sandbox: Sandbox, requests: Sequence[LabelledRequest]
) -> list[LabelledRequest]:
    """Return requests without those whose answer people vetoed."""
    barred = [
        (veto.text, veto.answers) for veto in vetoed(context, context.state.generation_role)
    ]

    def is_barred(request: LabelledRequest) -> bool:
        return any(
            request.task.prompt in prompts
            and not _differ(sandbox, request.task, request.label.answer, text)
            for text, prompts in barred
        )

    return [veto for veto in requests if not is_barred(veto)]


def _record_answer(
    context: StageContext,
    sandbox: Sandbox,
    hazard: Hazard,
    task: Task,
    label: Consensus,
    rejected: str,
) -> None:
    """Record ŷ. Equal to the rejected answer, it overrules critics and dismisses the hazard."""
    evidence = {
        "hazard": hazard.id,
        "safe": label.answer,
        "bad": rejected,
        "sources": list(label.sources),
        "confidence": label.confidence,
        "dismissed": not _differ(sandbox, task, rejected, label.answer),
    }
    context.run.events.add(
        Event(ANSWERED, evidence=evidence), stage=context.stage, episode=label.item
    )
    status = "dismissed" if evidence["dismissed"] else "answered"
    context.run.hazards.update(hazard.id, safe=label.answer, status=status)


def _labelled(
    sandbox: Sandbox, task: Task, label: Consensus, rejected: str
) -> LabelledRequest:
    """Return a request with its label; nothing is rejected that means the same."""
    differ = _differ(sandbox, task, rejected, label.answer)
    return LabelledRequest(task, label, rejected if differ else "")


def _differ(sandbox: Sandbox, task: Task, first: str, second: str) -> bool:
    return not same_meaning(sandbox.plain.source, task, first, second)


def _training_examples(
    context: StageContext,
    rules: Conform,
    sandbox: Sandbox,
    learner: Policy,
    requests: Sequence[LabelledRequest],
) -> list[Any]:
    """Return examples of the kind that the algorithm learns from."""
    key = context.seed_of("evened")
    kinds = experience_kinds(rules.algorithm)
    rows = [(request, _view(sandbox, request.task)) for request in requests]
    if "preferences" in kinds:
        pairs = [
            Preference(
                learner.prompt_ids(view),
                learner.reply_ids(view, request.label.answer),
                learner.reply_ids(view, request.bad),
                request.label.sources,
            )
            for request, view in rows
            if request.bad
        ]
        return list(balanced_pairs(pairs, key=key) if rules.balanced else pairs)
    if "unpaired_preferences" in kinds:
        unpaired = [
            UnpairedPreference(
                learner.prompt_ids(view),
                learner.reply_ids(view, text),
                good,
                request.label.sources,
            )
            for request, view in rows
            for text, good in ((request.label.answer, True), (request.bad, False))
            if text
        ]
        unpaired = balanced_unpaired(unpaired, key=key) if rules.balanced else unpaired
        return list(unpaired) if len({request.good for request in unpaired}) == 2 else []
    examples = [
        Example(
            learner.prompt_ids(view),
            learner.reply_ids(view, request.label.answer),
            request.label.sources,
            request.label.confidence,
        )
        for request, view in rows
    ]
    return list(balanced_examples(examples, key=key) if rules.balanced else examples)


def _view(sandbox: Sandbox, task: Task) -> View:
    """Return the learner's view of a task."""
    return Game(sandbox.plain, EpisodeKey(), task=task).view(sandbox.seat)


def _learned_metrics(
    context: StageContext,
    sandbox: Sandbox,
    learner: Policy,
    requests: Sequence[LabelledRequest],
    agent: str,
) -> list[Metric]:
    """Return the share of trained hazards that are now answered with ŷ."""
    if not requests:
        return []
    tasks = [request.task for request in requests]
    episodes = sandbox.asked(learner.agent, len(tasks), part="taught", tasks=tasks)
    utterances = [
        last_words(episode, context.state.generation_role) for episode in episodes
    ]
    correct = sum(
        answer is not None
        and not _differ(sandbox, request.task, answer.text, request.label.answer)
        for request, answer in zip(requests, utterances, strict=True)
    )
    estimate = share(correct, len(requests))
    return [Metric("conform.learned", *estimate, agent=agent, step=context.generation)]


def _with_more_steps(algorithm: Supervised, effort: int) -> Supervised:
    """Return the algorithm with its steps multiplied."""
    longer = make_algorithm({"steps": algorithm.steps * effort}, default=algorithm)
    return cast(Supervised, longer)
