"""Labelling of tasks by sources and people, and aggregation to one label each."""

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
from superalign_training.selfplay.playing import competence_scenario, first_view
from superalign_training.selfplay.settings import Settings
from superalign_training.selfplay.supervisors.people import People, questions_about
from superalign_training.selfplay.supervisors.sources import (
    Supervisor,
    answer_of,
    play_tasks,
    statements_of,
    student_seat,
)

LABELS = "labels.combined"
"""Event of the stage: every label that was taught, with its sources."""


declare("signals.disagreement", "Disagreement of sources", unit="share")
declare("signals.misfit", "Misfit: learner against labels", unit="share", better="lower")
declare("signals.confidence", "Confidence of the learner", unit="share")
declare("signals.human_agreement", "Agreement with people", unit="share", better="higher")
declare("signals.label_accuracy", "Labels that are true", unit="share", better="higher")
declare("signals.reliability", "Reliability", unit="share")


class LabelledTasks(NamedTuple):
    """Tasks of one split with the answers of sources, people and the learner."""

    scenario: Scenario[Any]
    episodes: list[Episode]
    statements: list[Statement]
    """Of models and personas."""
    drawn: list[Statement]
    """By people, about tasks drawn at random: never trained on."""
    chosen: list[Statement]
    """By people, about tasks on which sources disagree."""


class Labelling:
    """Collection and aggregation of answers to tasks by sources, people and the learner.

    Args:
        context: of the stage.
        settings: of the run.
        members: supervisors, in the order of their seats.
    """

    def __init__(
        self, context: StageContext, settings: Settings, members: Sequence[Supervisor]
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

    def answer_tasks(self, split: Split, cases: int, learner: Policy) -> LabelledTasks:
        """Play tasks of a split, and ask people about some of them."""
        scenario = competence_scenario(self._settings, split, len(self._members))
        episodes = play_tasks(
            self._context, scenario, self._members, learner.agent, cases, part=split
        )
        statements = statements_of(scenario, episodes, self._members)
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
        statements_of_people = self._people.write(scenario, episodes, questions)
        random = {q.episode for q in questions if q.slice == "random"}
        return LabelledTasks(
            scenario,
            episodes,
            statements,
            [statement for statement in statements_of_people if statement.item in random],
            [
                statement
                for statement in statements_of_people
                if statement.item not in random
            ],
        )

    def source_reliability(
        self, taught: LabelledTasks, control: LabelledTasks
    ) -> dict[str, float]:
        """Return source → reliability, estimated on randomly drawn tasks with labels of people."""
        statements = [*taught.statements, *control.statements]
        if self._signals.human == "add":
            statements += taught.chosen
        return reliability(statements, [*taught.drawn, *control.drawn])

    def labels(
        self,
        answered: LabelledTasks,
        people: Sequence[Statement],
        reliabilities: Mapping[str, float],
        *,
        drop: bool,
    ) -> list[Consensus]:
        """Return one label for each task with an answer, in order of play.

        Args:
            answered: tasks, with what models and personas said.
            people: what people said that counts.
            reliabilities: source → reliability.
            drop: whether a share of the sources is left out of each label.
        """
        signals = self._signals
        statements = answered.statements
        if drop:
            key = self._context.seed_of("dropout")
            statements = without_some(statements, signals.dropout, key=key)
        consensus = combine(
            [*statements, *(people if signals.human == "add" else ())],
            signals.combine,
            order=self._order,
            reliability=reliabilities,
        )
        labels = {label.item: label for label in consensus}
        if signals.human == "override":
            labels |= {
                p.item: Consensus(p.item, p.answer, p.confidence, (p.source,))
                for p in people
            }
        return [labels[e.id] for e in answered.episodes if e.id in labels]

    def record(self, labels: Sequence[Consensus]) -> None:
        """Record every label with its sources."""
        rows = [
            [label.item, label.answer, label.confidence, list(label.sources)]
            for label in labels
        ]
        self._context.run.events.add(
            Event(LABELS, evidence={"labels": rows}), stage=self._context.stage
        )

    def metrics(
        self,
        agent: str,
        taught: LabelledTasks,
        control: LabelledTasks,
        *,
        labels: Sequence[Consensus],
        stats: GenerationStats,
        reliabilities: Mapping[str, float],
    ) -> tuple[Metric, ...]:
        """Return metrics of signals and labels; label accuracy is by the truth."""
        step = self._context.generation
        task = {episode.id: episode.task for episode in taught.episodes}
        accuracy = label_accuracy(
            taught.scenario.source, [(task[label.item], label.answer) for label in labels]
        )
        rows: list[tuple[str, float | Estimate, dict[str, str]]] = [
            ("signals.disagreement", stats.disagreement, {"split": "control"}),
            ("signals.misfit", stats.misfit, {"split": "control"}),
            ("signals.confidence", stats.confidence, {"split": "control"}),
            ("signals.label_accuracy", accuracy, {"by": "truth"}),
        ]
        if stats.human_agreement is not None:
            agreed = round(stats.human_agreement * stats.human_labels)
            rows.append(("signals.human_agreement", share(agreed, stats.human_labels), {}))
        measures = [
            Metric(name, *value, agent=agent, tags=tags, step=step)
            if isinstance(value, Estimate)
            else Metric(name, value, agent=agent, tags=tags, step=step)
            for name, value, tags in rows
        ]
        measures += [
            Metric("signals.reliability", value, agent=source, step=step)
            for source, value in reliabilities.items()
        ]
        answered = [*taught.episodes, *control.episodes]
        measures += matrices(
            [*taught.statements, *control.statements],
            [*taught.drawn, *control.drawn],
            options={e.id: taught.scenario.source.answers(e.task) for e in answered},
            step=step,
            seed=self._context.seed_of("matrices"),
        )
        return tuple(measures)


def labelled_examples(
    answered: LabelledTasks, labels: Sequence[Consensus], learner: Policy
) -> list[Example]:
    """Return labels as supervised examples on the learner's prompts."""
    episodes = {episode.id: episode for episode in answered.episodes}
    if not labels:
        return []
    view = first_view(
        answered.scenario, episodes[labels[0].item], student_seat(answered.scenario)
    )
    examples = []
    for label in labels:
        reply = answer_of(episodes[label.item]).reply
        if reply is not None and reply.prompt_ids:
            words = learner.reply_ids(view, label.answer)
            examples.append(
                Example(reply.prompt_ids, words, label.sources, label.confidence)
            )
    return examples
