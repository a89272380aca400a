"""Tasks are answered by all sources and the learner, and get one label each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.measures import Estimate, share
from superalign_env.protocols import Scenario
from superalign_env.store import declare
from superalign_env.types import Episode, Event, Metric, Split
from superalign_training.data import Example
from superalign_training.evaluation.holdout import label_accuracy
from superalign_training.gap.controller import GenerationStats
from superalign_training.oversight.labels import (
    Consensus,
    Statement,
    combine,
    labels_on_control,
    without_some,
)
from superalign_training.oversight.reliability import matrices, reliability
from superalign_training.policy import Policy
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.playing import first_view, lesson_scenario
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.panel import (
    Member,
    answer_of,
    play_lessons,
    said_by_members,
    student_seat,
)
from superalign_training.selfplay.supervisors.people import People, questions_about

LABELS = "labels.combined"
"""Event of the stage: every label that was taught, with its sources."""


declare("signals.disagreement", "Disagreement of sources", unit="share")
declare("signals.misfit", "Misfit: learner against labels", unit="share", better="lower")
declare("signals.confidence", "Confidence of the learner", unit="share")
declare("signals.human_agreement", "Agreement with people", unit="share", better="higher")
declare("signals.label_accuracy", "Labels that are true", unit="share", better="higher")
declare("signals.reliability", "Reliability", unit="share")


class Sitting(NamedTuple):
    """Tasks of one split that were answered, and what was said of them."""

    scenario: Scenario[Any]
    episodes: list[Episode]
    statements: list[Statement]
    """Of models and personas."""
    drawn: list[Statement]
    """By people, about tasks drawn at random: never trained on."""
    chosen: list[Statement]
    """By people, about tasks that voices disputed."""


class Labelling:
    """Has tasks answered by the panel, the learner and people, and finds labels.

    Args:
        context: of the stage.
        settings: of the run.
        members: of the panel.
    """

    def __init__(
        self, context: StageContext, settings: Settings, members: Sequence[Member]
    ) -> None:
        self._context = context
        self._signals = settings.signals
        self._settings = settings
        self._members = members
        self._people = People(context, settings.signals.people)
        self._order = [
            *(person.name for person in settings.signals.people),
            *(member.source for member in members),
        ]

    def sit(self, split: Split, cases: int, learner: Policy) -> Sitting:
        """Have tasks of a split answered, and people asked about some of them."""
        scenario = lesson_scenario(self._settings, split, len(self._members))
        episodes = play_lessons(
            self._context, scenario, self._members, learner.agent, cases, part=split
        )
        statements = said_by_members(scenario, episodes, self._members)
        budget = labels_on_control(self._signals)
        if split == "train":
            budget = self._signals.labels - budget
        random_share = self._signals.random_share if split == "train" else 1.0
        questions = questions_about(
            episodes,
            statements,
            budget,
            key=self._context.seed_of(f"questions-{split}"),
            random_share=random_share,
            round=self._context.round,
        )
        said = self._people.write(scenario, episodes, questions)
        random = {q.episode for q in questions if q.slice == "random"}
        return Sitting(
            scenario,
            episodes,
            statements,
            [one for one in said if one.item in random],
            [one for one in said if one.item not in random],
        )

    def trust(self, taught: Sitting, control: Sitting) -> dict[str, float]:
        """Return how far each voice is to be trusted, by what people said of drawn tasks."""
        voices = [*taught.statements, *control.statements]
        if self._signals.human == "add":
            voices += taught.chosen
        return reliability(voices, [*taught.drawn, *control.drawn])

    def labels(
        self,
        sat: Sitting,
        people: Sequence[Statement],
        trust: Mapping[str, float],
        *,
        drop: bool,
    ) -> list[Consensus]:
        """Return one label for each task that anybody spoke about, in order of play.

        Args:
            sat: what models and personas said.
            people: what people said that counts.
            trust: source → reliability.
            drop: whether a share of the sources is left out of each label.
        """
        signals = self._signals
        voices = sat.statements
        if drop:
            key = self._context.seed_of("dropout")
            voices = without_some(voices, signals.dropout, key=key)
        found = combine(
            [*voices, *(people if signals.human == "add" else ())],
            signals.combine,
            order=self._order,
            reliability=trust,
        )
        known = {one.item: one for one in found}
        if signals.human == "override":
            known |= {
                p.item: Consensus(p.item, p.answer, p.confidence, (p.source,))
                for p in people
            }
        return [known[e.id] for e in sat.episodes if e.id in known]

    def record(self, labels: Sequence[Consensus]) -> None:
        """Keep every label and who gave it."""
        rows = [[one.item, one.answer, one.confidence, list(one.sources)] for one in labels]
        self._context.run.events.add(
            Event(LABELS, evidence={"labels": rows}), stage=self._context.stage
        )

    def metrics(
        self,
        agent: str,
        taught: Sitting,
        control: Sitting,
        *,
        labels: Sequence[Consensus],
        sight: GenerationStats,
        trust: Mapping[str, float],
    ) -> tuple[Metric, ...]:
        """Return what there is to say about the signals; some of it knows the truth."""
        step = self._context.generation
        task = {episode.id: episode.task for episode in taught.episodes}
        right = label_accuracy(
            taught.scenario.source, [(task[one.item], one.answer) for one in labels]
        )
        rows: list[tuple[str, float | Estimate, dict[str, str]]] = [
            ("signals.disagreement", sight.disagreement, {"split": "control"}),
            ("signals.misfit", sight.misfit, {"split": "control"}),
            ("signals.confidence", sight.confidence, {"split": "control"}),
            ("signals.label_accuracy", right, {"by": "truth"}),
        ]
        if sight.human_agreement is not None:
            agreed = round(sight.human_agreement * sight.human_labels)
            rows.append(("signals.human_agreement", share(agreed, sight.human_labels), {}))
        found = [
            Metric(name, *value, agent=agent, tags=tags, step=step)
            if isinstance(value, Estimate)
            else Metric(name, value, agent=agent, tags=tags, step=step)
            for name, value, tags in rows
        ]
        found += [
            Metric("signals.reliability", value, agent=source, step=step)
            for source, value in trust.items()
        ]
        sat = [*taught.episodes, *control.episodes]
        found += matrices(
            [*taught.statements, *control.statements],
            [*taught.drawn, *control.drawn],
            options={e.id: taught.scenario.source.answers(e.task) for e in sat},
            step=step,
            seed=self._context.seed_of("matrices"),
        )
        return tuple(found)


def lessons_of(sat: Sitting, labels: Sequence[Consensus], learner: Policy) -> list[Example]:
    """Return labels as examples: what the learner read, and what it shall say there."""
    episodes = {episode.id: episode for episode in sat.episodes}
    if not labels:
        return []
    view = first_view(sat.scenario, episodes[labels[0].item], student_seat(sat.scenario))
    lessons = []
    for one in labels:
        reply = answer_of(episodes[one.item]).reply
        if reply is not None and reply.prompt_ids:
            words = learner.reply_ids(view, one.answer)
            lessons.append(Example(reply.prompt_ids, words, one.sources, one.confidence))
    return lessons
