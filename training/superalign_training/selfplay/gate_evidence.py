"""Evidence for the gate: competence, conformity and attack success of a generation.

By labels of sources and people and scores of critics; the truth is not asked.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar, cast

from superalign_agents.archive import normalised
from superalign_env.final_answers import final_answer
from superalign_env.measures import Estimate, share
from superalign_env.protocols import Agent
from superalign_env.seeding import generator
from superalign_env.store import declare
from superalign_env.types import Episode, Metric, Question, Role, Signal
from superalign_training.judging import last_words
from superalign_training.mixture import Mixture
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
    is_refusal,
    judged_answers,
)
from superalign_training.oversight.labels import combine
from superalign_training.oversight.reliability import reliability
from superalign_training.selfplay.agents import (
    agent_of,
    checkpoint_agent,
    recorded_agent,
    shelf_of,
    speaker_of,
)
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.opponents.pool import load, members
from superalign_training.selfplay.playing import competence_scenario, is_judged
from superalign_training.selfplay.sandbox import Sandbox, searcher
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.people import People, label_question
from superalign_training.selfplay.supervisors.sources import (
    answer_of,
    play_tasks,
    speaking,
    statements_of,
    supervisors_of,
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


class Competence(NamedTuple):
    """Change of competence during alignment, from A_i⁻ to A_i⁺."""

    competence_change: Estimate | None
    speech: Mapping[str, Answers]
    """Family → answers of both sides."""
    open_questions: int = 0
    """Questions to people that are still open."""


def weigh_competence(context: StageContext, settings: Settings) -> Competence:
    """Compare A_i⁺ with A_i⁻ on tasks of the gate split, by people's and sources' labels."""
    before = context.state.before
    if before is None:
        return Competence(None, {})
    if before.weights == context.state.current.weights:
        return Competence(Estimate(0.0, 0.0, 0.0, 0), {})
    rules, voice = settings.gate, settings.signals.temperature
    sources = supervisors_of(context, settings)
    scenario = competence_scenario(settings, "gate", len(sources))
    after = speaker_of(context, context.state.generation_role, settings)
    with speaking(after, voice):
        now = play_tasks(
            context, scenario, sources, after, rules.cases, part="competence-after"
        )
    tasks = [episode.task for episode in now]
    earlier = checkpoint_agent(
        context, before, settings, part=context.state.generation_role
    )
    alone = competence_scenario(settings, "gate", 0)
    with speaking(earlier, voice):
        then = play_tasks(
            context,
            alone,
            (),
            earlier,
            len(tasks),
            part="competence-before",
            tasks=tasks,
        )
    pairs = _pairs(now, then)
    answers = [
        AnswerPair(
            one.id, final_answer(answer_of(two).text), final_answer(answer_of(one).text)
        )
        for one, two in pairs
    ]
    statements = statements_of(scenario, now, sources)
    rule = settings.signals.combine if sources else "majority"
    combined = combine(statements, rule, reliability=reliability(statements))
    labels = {
        label.item: PairLabels(consensus=final_answer(label.answer)) for label in combined
    }
    disputed = {pair.item for pair in disagreements(answers)}
    asked = some_of(
        [pair for pair in pairs if pair[0].id in disputed],
        rules.disagreement_labels // 2,
        context,
        "disputes",
    )
    people = People(context, settings.signals.people)
    about_new = [_label_of(one, context.round) for one, _ in asked]
    about_old = [_label_of(two, context.round) for _, two in asked]
    new = people.ask(scenario, now, about_new)
    old = people.ask(alone, then, about_old)
    labels |= _labelled_by_people(asked, new, old, labels)
    open_questions = count_open(context, [*about_new, *about_old], [*new, *old])
    return Competence(competence_change(answers, labels), _speech(pairs), open_questions)


def _labelled_by_people(
    asked: Sequence[tuple[Episode, Episode]],
    new: Sequence[Signal],
    old: Sequence[Signal],
    labels: Mapping[str, PairLabels],
) -> dict[str, PairLabels]:
    """Return item → its labels, with those that people gave both sides."""
    after, before = (
        {signal.episode: signal.value for signal in side} for side in (new, old)
    )
    return {
        one.id: labels.get(one.id, PairLabels())._replace(
            before=before.get(two.id), after=after.get(one.id)
        )
        for one, two in asked
    }


def _pairs(
    now: Sequence[Episode], then: Sequence[Episode]
) -> list[tuple[Episode, Episode]]:
    """Return the episodes of both sides, task by task, without failed ones."""
    by_place = {episode.key.case: episode for episode in then}
    return [(one, by_place[place]) for place, one in enumerate(now) if place in by_place]


def _speech(pairs: Sequence[tuple[Episode, Episode]]) -> dict[str, Answers]:
    families = sorted({one.task.family for one, _ in pairs})
    return {
        family: Answers(
            [answer_of(one).text for one, _ in pairs if one.task.family == family],
            [answer_of(two).text for one, two in pairs if one.task.family == family],
        )
        for family in families
    }


def _label_of(episode: Episode, round: int) -> Question:
    return label_question(episode.id, answer_of(episode).turn, round)


class Requests(NamedTuple):
    """Answers to plain requests of the gate split."""

    conformity: Mapping[str, Estimate]
    labelled: Sequence[Labelled]
    held_out: Estimate | None
    """Share of bad answers, by critics."""
    open_questions: int = 0
    """Questions to people that are still open."""


def weigh_requests(context: StageContext, settings: Settings, learner: Agent) -> Requests:
    """Play plain requests of the gate split; people label some of the answers."""
    rules = settings.gate
    sandbox = Sandbox(context, settings, "gate")
    episodes = sandbox.asked(learner, rules.request_cases, part="requests")
    judged = judged_answers(episodes, lambda case: PLAIN, sandbox.role)
    score = {one.episode: one.score for one in judged}
    spoken = {
        episode.id: answer
        for episode in episodes
        if not episode.failed and (answer := last_words(episode, sandbox.role)) is not None
    }
    chosen = some_of(list(spoken), rules.request_labels, context, "requests")
    questions = [label_question(name, spoken[name].turn, context.round) for name in chosen]
    people = People(context, settings.signals.people)
    said = people.ask(sandbox.plain, episodes, questions)
    refused = {name: is_refusal(one.text) for name, one in spoken.items()}
    labelled = [Labelled(s.value, score.get(s.episode), refused[s.episode]) for s in said]
    bad = len(hazards_in(judged, settings.discover.score_threshold))
    return Requests(
        _by_kind(said, refused),
        labelled,
        share(bad, len(judged)) if judged else None,
        count_open(context, questions, said),
    )


def _by_kind(said: Sequence[Signal], refused: Mapping[str, bool]) -> dict[str, Estimate]:
    """Return kind → share of good answers, by people's labels.

    The kind is what was answered; where people name a dimension, that counts besides.
    """
    values: dict[str, list[float]] = {}
    for signal in said:
        kind = "refused" if refused[signal.episode] else "answered"
        values.setdefault(kind, []).append(signal.value)
        named = normalised(str(signal.payload.get("dimension", "")))
        if named:
            values.setdefault(named, []).append(signal.value)
    return {
        kind: share(sum(value > 0.5 for value in found), len(found))
        for kind, found in values.items()
    }


class Deployment(NamedTuple):
    """Attack success of archived attackers against the finished generation, training split."""

    attack_success: Estimate | None
    rate: Estimate | None
    """Of bad answers, plain requests included."""
    trained_on: Estimate | None
    """Of bad answers to plain requests."""
    opponents: Mapping[str, Estimate]


def weigh_deployment(
    context: StageContext, settings: Settings, learner: Agent
) -> Deployment:
    """Deploy the learner once more: plain requests, and every archived attacker."""
    cases = settings.gate.deployment_cases
    if not cases or not is_judged(settings):
        return Deployment(None, None, None, {})
    sandbox = Sandbox(context, settings)
    field = archived(context, settings, sandbox.attacker)
    mixture = Mixture(field, seed=context.seed_of("opponents"))
    episodes = sandbox.deployed(
        learner, mixture, cases, part="deployed", plain=settings.discover.plain_share
    )
    answers = judged_answers(episodes, mixture.chosen, sandbox.role)
    below = settings.discover.score_threshold
    attacked = [one for one in answers if one.asked_by != PLAIN]
    return Deployment(
        _bad(attacked, below),
        _bad(answers, below),
        _bad([one for one in answers if one.asked_by == PLAIN], below),
        {
            name: found
            for name in field
            for found in [_bad([one for one in attacked if one.asked_by == name], below)]
            if found is not None
        },
    )


def archived(context: StageContext, settings: Settings, role: Role) -> dict[str, Agent]:
    """Return the attackers for the gate of a generation: name → agent.

    The search with its archive, and the checkpoints that attackers have had; of more than
    ``gate.max_opponents`` the others are drawn. An attacker that does not learn is one.

    Args:
        context: of the stage.
        settings: of the run.
        role: that attacks; empty where nobody does but the search.
    """
    if not role:
        return {SEARCH: searcher(context)}
    if role not in settings.learning:
        frozen = cast(Agent, agent_of(context, role, settings))
        return {SEARCH: searcher(context), recorded_agent(context, role, settings): frozen}
    current = context.state.policies[role].agent
    league = [
        member
        for member in members(context.run.agents, role, current=current)
        if member.spec.id != SEARCH
    ]
    drawn = some_of(league, settings.gate.max_opponents - 1, context, "opponents")
    shelf = shelf_of(context, settings)
    field: dict[str, Agent] = {SEARCH: searcher(context)}
    for member in drawn:
        now = member.name == current
        field[member.name] = (
            speaker_of(context, role, settings) if now else load(member, shelf)
        )
    return field


def opponent_metrics(found: Deployment, *, agent: str, step: int) -> list[Metric]:
    """Return the attack success rate of each archived attacker, by critics."""
    return [
        Metric("gate.attacked", *estimate, agent=agent, opponent=name, step=step)
        for name, estimate in found.opponents.items()
    ]


def _bad(answers: Sequence[JudgedAnswer], below: float) -> Estimate | None:
    return share(len(hazards_in(answers, below)), len(answers)) if answers else None


def count_open(
    context: StageContext, asked: Sequence[Question], said: Sequence[Signal]
) -> int:
    """Return the number of questions neither answered nor skipped."""
    skips = context.run.signals.standing(kind="skip")
    closed = {signal.question for signal in (*said, *skips)}
    return sum(question.id not in closed for question in asked)


def some_of(
    items: Sequence[Item], count: int, context: StageContext, part: str
) -> list[Item]:
    """Draw `count` items, or all, at random; keep their order."""
    order = generator(context.seed_of(f"some-{part}")).permutation(len(items)).tolist()
    return [items[place] for place in sorted(order[: max(0, count)])]
