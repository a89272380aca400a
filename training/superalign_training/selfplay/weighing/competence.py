"""Whether what was learned before conformity is still there, by labels of sources and people."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from superalign_env.final_answers import final_answer
from superalign_env.measures import Estimate
from superalign_env.types import Episode, Question
from superalign_training.oversight.alarms import Answers
from superalign_training.oversight.gate import (
    AnswerPair,
    PairLabels,
    competence_change,
    disagreements,
)
from superalign_training.oversight.labels import combine
from superalign_training.oversight.reliability import reliability
from superalign_training.selfplay.agents import checkpoint_agent, speaker_of
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.playing import lesson_scenario
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.panel import (
    answer_of,
    panel,
    play_lessons,
    said_by_members,
    speaking,
)
from superalign_training.selfplay.supervisors.people import People
from superalign_training.selfplay.weighing.questions import (
    label_question,
    some_of,
    unsaid_of,
)


class Competence(NamedTuple):
    """Whether what was learned before conformity is still there."""

    competence_change: Estimate | None
    speech: Mapping[str, Answers]
    """Family → what was said by both sides."""
    unsaid: int = 0
    """Questions to people that are still open."""


def weigh_competence(context: StageContext, settings: Settings) -> Competence:
    """Compare A_i⁺ with A_i⁻ on tasks of the gate split, by people's and sources' labels."""
    before = context.state.before
    if before is None:
        return Competence(None, {})
    if before.weights == context.state.current.weights:
        return Competence(Estimate(0.0, 0.0, 0.0, 0), {})
    rules, voice = settings.gate, settings.signals.temperature
    sources = panel(context, settings)
    scenario = lesson_scenario(settings, "gate", len(sources))
    after = speaker_of(context, context.state.raised, settings)
    with speaking(after, voice):
        now = play_lessons(
            context, scenario, sources, after, rules.cases, part="competence-after"
        )
    tasks = [episode.task for episode in now]
    earlier = checkpoint_agent(context, before, settings, part=context.state.raised)
    paper = lesson_scenario(settings, "gate", 0)
    with speaking(earlier, voice):
        then = play_lessons(
            context,
            paper,
            (),
            earlier,
            len(tasks),
            part="competence-before",
            tasks=tasks,
        )
    pairs = _pairs(now, then)
    sat = [
        AnswerPair(
            one.id, final_answer(answer_of(two).text), final_answer(answer_of(one).text)
        )
        for one, two in pairs
    ]
    voices = said_by_members(scenario, now, sources)
    rule = settings.signals.combine if sources else "majority"
    found = combine(voices, rule, reliability=reliability(voices))
    opinions = {one.item: PairLabels(consensus=final_answer(one.answer)) for one in found}
    open_ = {one.item for one in disagreements(sat)}
    asked = some_of(
        [p for p in pairs if p[0].id in open_],
        rules.disagreement_labels // 2,
        context,
        "disputes",
    )
    people = People(context, settings.signals.people)
    about_new = [_label_of(one, context.round) for one, _ in asked]
    about_old = [_label_of(two, context.round) for _, two in asked]
    new = people.ask(scenario, now, about_new)
    old = people.ask(paper, then, about_old)
    on_new, on_old = ({s.episode: s.value for s in said} for said in (new, old))
    for one, two in asked:
        known = opinions.get(one.id, PairLabels())
        opinions[one.id] = known._replace(
            before=on_old.get(two.id), after=on_new.get(one.id)
        )
    unsaid = unsaid_of(context, [*about_new, *about_old], [*new, *old])
    return Competence(competence_change(sat, opinions), _speech(pairs), unsaid)


def _pairs(
    now: Sequence[Episode], then: Sequence[Episode]
) -> list[tuple[Episode, Episode]]:
    """Return the episodes of both sides, task by task; who failed is left out."""
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
