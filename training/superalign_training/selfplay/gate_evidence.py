"""Evidence for the gate: competence, conformity and attack success of a generation.

By labels of sources and people and scores of critics; the truth is not asked.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

from superalign_agents.archive import normalised
from superalign_env.final_answers import final_answer, refuses
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent
from superalign_env.seeding import generator
from superalign_env.store import declare
from superalign_env.types import Episode, Metric, Question, Role, Signal
from superalign_training.judging import last_words
from superalign_training.oversight.alarms import Answers, Labelled
from superalign_training.oversight.gate import (
    AnswerPair,
    PairLabels,
    competence_change,
    disagreements,
)
from superalign_training.oversight.hazards import (
    PLAIN,
    JudgedAnswer,
    hazards_in,
    judged_answers,
)
from superalign_training.oversight.labels import combine
from superalign_training.oversight.reliability import reliability
from superalign_training.selfplay.agents import (
    agent_of,
    checkpoint_agent,
    checkpoint_loader,
    recorded_agent,
    speaker_of,
)
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.opponents.pool import OpponentPool, load, members
from superalign_training.selfplay.playing import competence_scenario, is_judged
from superalign_training.selfplay.sandbox import Sandbox, search_attacker
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.people import People, label_question
from superalign_training.selfplay.supervisors.sources import (
    answer_of,
    play_tasks,
    statements_of,
    supervisors_of,
    temperature_set,
)

Item = TypeVar("Item")

SEARCH = "search"
"""Name of the archive of attacks among the opponents."""

declare(
    "gate.attacked",
    "Attacks that succeeded at the gate, say critics",
    unit="share",
    better="lower",
    chart="matrix",
)


class CompetenceEvidence(NamedTuple):
    """Change of competence during alignment, from A_i⁻ to A_i⁺."""

    competence_change: Estimate | None
    speech: Mapping[str, Answers]
    """Family → answers of both sides."""
    open_questions: int = 0
    """Questions to people that are still open."""


def competence_evidence(context: StageContext, settings: Settings) -> CompetenceEvidence:
    """Compare A_i⁺ with A_i⁻ on tasks of the gate split, by people's and sources' labels."""
    start = context.state.before
    if start is None:
        return CompetenceEvidence(None, {})
    if start.weights == context.state.current.weights:
        return CompetenceEvidence(Estimate(0.0, 0.0, 0.0, 0), {})
    rules, temperature = settings.gate, settings.signals.temperature
    sources = supervisors_of(context, settings)
    scenario = competence_scenario(settings, "gate", len(sources))
    aligned_agent = speaker_of(context, context.state.generation_role, settings)
    with temperature_set(aligned_agent, temperature):
        now = play_tasks(
            context, scenario, sources, aligned_agent, rules.cases, part="competence-after"
        )
    tasks = [episode.task for episode in now]
    start_agent = checkpoint_agent(
        context, start, settings, part=context.state.generation_role
    )
    alone = competence_scenario(settings, "gate", 0)
    with temperature_set(start_agent, temperature):
        part = "competence-before"
        then = play_tasks(
            context, alone, (), start_agent, len(tasks), part=part, tasks=tasks
        )
    pairs = _pairs(now, then)
    answers = [
        AnswerPair(after.id, *(final_answer(answer_of(e).text) for e in (before, after)))
        for after, before in pairs
    ]
    statements = statements_of(scenario, now, sources)
    rule = settings.signals.combine if sources else "majority"
    combined = combine(statements, rule, reliability=reliability(statements))
    labels = {
        label.item: PairLabels(consensus=final_answer(label.answer)) for label in combined
    }
    disputed = {pair.item for pair in disagreements(answers)}
    selected = draw_some(
        [pair for pair in pairs if pair[0].id in disputed],
        rules.disagreement_labels // 2,
        context,
        "disputes",
    )
    people = People(context, settings.signals.people)
    questions_after = [_label_of(after, context.round) for after, _ in selected]
    questions_before = [_label_of(before, context.round) for _, before in selected]
    labels_after = people.ask(scenario, now, questions_after)
    labels_before = people.ask(alone, then, questions_before)
    labels |= _labelled_by_people(selected, labels_after, labels_before, labels)
    open_questions = count_open(
        context, [*questions_after, *questions_before], [*labels_after, *labels_before]
    )
    return CompetenceEvidence(
        competence_change(answers, labels), _answers_by_family(pairs), open_questions
    )


def _labelled_by_people(
    pairs: Sequence[tuple[Episode, Episode]],
    labels_after: Sequence[Signal],
    labels_before: Sequence[Signal],
    labels: Mapping[str, PairLabels],
) -> dict[str, PairLabels]:
    """Return item → labels, people's labels of both sides included."""
    values_after, values_before = (
        {signal.episode: signal.value for signal in side}
        for side in (labels_after, labels_before)
    )
    return {
        after.id: labels.get(after.id, PairLabels())._replace(
            before=values_before.get(before.id), after=values_after.get(after.id)
        )
        for after, before in pairs
    }


def _pairs(
    now: Sequence[Episode], then: Sequence[Episode]
) -> list[tuple[Episode, Episode]]:
    """Return the pairs of episodes of one task, without failed ones."""
    by_place = {episode.key.case: episode for episode in then}
    return [
        (after, by_place[place]) for place, after in enumerate(now) if place in by_place
    ]


def _answers_by_family(pairs: Sequence[tuple[Episode, Episode]]) -> dict[str, Answers]:
    families = sorted({after.task.family for after, _ in pairs})
    return {
        family: Answers(
            [answer_of(after).text for after, _ in pairs if after.task.family == family],
            [answer_of(before).text for a, before in pairs if a.task.family == family],
        )
        for family in families
    }


def _label_of(episode: Episode, round: int) -> Question:
    return label_question(episode.id, answer_of(episode).turn, round)


class RequestEvidence(NamedTuple):
    """Answers to plain requests of the gate split."""

    conformity: Mapping[str, Estimate]
    labelled: Sequence[Labelled]
    held_out: Estimate | None
    """Share of bad answers, by critics."""
    open_questions: int = 0
    """Questions to people that are still open."""


def request_evidence(
    context: StageContext, settings: Settings, learner: Agent
) -> RequestEvidence:
    """Play plain requests of the gate split, and have people label some answers."""
    rules = settings.gate
    sandbox = Sandbox(context, settings, "gate")
    episodes = sandbox.asked(learner, rules.request_cases, part="requests")
    judged = judged_answers(episodes, lambda case: PLAIN, sandbox.role, sandbox.source)
    score = {answer.episode: answer.score for answer in judged}
    answers = {
        episode.id: answer
        for episode in episodes
        if not episode.failed and (answer := last_words(episode, sandbox.role)) is not None
    }
    selected = draw_some(list(answers), rules.request_labels, context, "requests")
    turns = [(name, answers[name].turn) for name in selected]
    questions = [label_question(name, turn, context.round) for name, turn in turns]
    people = People(context, settings.signals.people)
    signals = people.ask(sandbox.plain, episodes, questions)
    tasks = {episode.id: episode.task for episode in episodes}
    refused = {
        name: refuses(sandbox.source, tasks[name], answer.text)
        for name, answer in answers.items()
    }
    labelled = [
        Labelled(s.value, score.get(s.episode), refused[s.episode]) for s in signals
    ]
    hazards = len(hazards_in(judged, settings.discover.score_threshold))
    return RequestEvidence(
        _by_kind(signals, refused),
        labelled,
        share(hazards, len(judged)) if judged else None,
        count_open(context, questions, signals),
    )


def _by_kind(signals: Sequence[Signal], refused: Mapping[str, bool]) -> dict[str, Estimate]:
    """Return kind → share of good answers, by people's labels.

    The kind is what was answered; where people name a dimension, that counts besides.
    """
    values: dict[str, list[float]] = {}
    for signal in signals:
        kind = "refused" if refused[signal.episode] else "answered"
        values.setdefault(kind, []).append(signal.value)
        dimension = normalised(str(signal.payload.get("dimension", "")))
        if dimension:
            values.setdefault(dimension, []).append(signal.value)
    return {
        kind: share(sum(value > 0.5 for value in labels), len(labels))
        for kind, labels in values.items()
    }


class DeploymentEvidence(NamedTuple):
    """Attack success of archived attackers against the finished generation, training split."""

    attack_success: Estimate | None
    rate: Estimate | None
    """Of bad answers, plain requests included."""
    trained_on: Estimate | None
    """Of bad answers to plain requests."""
    opponents: Mapping[str, Estimate]


def deployment_evidence(
    context: StageContext, settings: Settings, learner: Agent
) -> DeploymentEvidence:
    """Deploy the learner on plain requests and against every archived attacker."""
    cases = settings.gate.deployment_cases
    if not cases or not is_judged(settings):
        return DeploymentEvidence(None, None, None, {})
    sandbox = Sandbox(context, settings)
    attackers = archived_attackers(context, settings, sandbox.attacker)
    pool = OpponentPool(attackers, seed=context.seed_of("opponents"))
    episodes = sandbox.deployed(
        learner, pool, cases, part="deployed", plain=settings.discover.plain_share
    )
    answers = judged_answers(episodes, pool.chosen, sandbox.role, sandbox.source)
    threshold = settings.discover.score_threshold
    attacked = [a for a in answers if a.asked_by != PLAIN]
    by_attacker = {
        name: _bad_share([a for a in attacked if a.asked_by == name], threshold)
        for name in attackers
    }
    return DeploymentEvidence(
        _bad_share(attacked, threshold),
        _bad_share(answers, threshold),
        _bad_share([a for a in answers if a.asked_by == PLAIN], threshold),
        {name: estimate for name, estimate in by_attacker.items() if estimate is not None},
    )


def archived_attackers(
    context: StageContext, settings: Settings, role: Role
) -> dict[str, Agent]:
    """Return the attackers of the gate: name → agent.

    The search with its archive, and the checkpoints that attackers have had; of more than
    ``gate.max_opponents`` the others are drawn. An attacker that does not learn is one.

    Args:
        context: of the stage.
        settings: of the run.
        role: that attacks; empty where nobody does but the search.
    """
    if not role:
        return {SEARCH: search_attacker(context)}
    if role not in settings.learning:
        frozen = cast(Agent, agent_of(context, role, settings))
        return {
            SEARCH: search_attacker(context),
            recorded_agent(context, role, settings): frozen,
        }
    current = context.state.policies[role].agent
    league = [
        member
        for member in members(context.run.agents, role, current=current)
        if member.spec.id != SEARCH
    ]
    selected = draw_some(league, settings.gate.max_opponents - 1, context, "opponents")
    cache = checkpoint_loader(context, settings)
    opponents: dict[str, Agent] = {SEARCH: search_attacker(context)}
    for member in selected:
        now = member.name == current
        opponents[member.name] = (
            speaker_of(context, role, settings) if now else load(member, cache)
        )
    return opponents


def opponent_metrics(
    deployment: DeploymentEvidence, *, agent: str, step: int
) -> list[Metric]:
    """Return the attack success rate of each archived attacker, by critics."""
    return [
        Metric("gate.attacked", *estimate, agent=agent, opponent=name, step=step)
        for name, estimate in deployment.opponents.items()
    ]


def _bad_share(answers: Sequence[JudgedAnswer], threshold: float) -> Estimate | None:
    return share(len(hazards_in(answers, threshold)), len(answers)) if answers else None


def count_open(
    context: StageContext, questions: Sequence[Question], signals: Sequence[Signal]
) -> int:
    """Return the number of questions neither answered nor skipped."""
    skips = context.run.signals.standing(kind="skip")
    closed = {signal.question for signal in (*signals, *skips)}
    return sum(question.id not in closed for question in questions)


def draw_some(
    items: Sequence[Item], count: int, context: StageContext, part: str
) -> list[Item]:
    """Draw `count` items, or all, at random; keep their order."""
    order = generator(context.seed_of(f"some-{part}")).permutation(len(items)).tolist()
    return [items[place] for place in sorted(order[: max(0, count)])]
