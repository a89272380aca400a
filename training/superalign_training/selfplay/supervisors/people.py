"""Answers and labels of people, through the people's queue."""

from collections.abc import Mapping, Sequence
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.final_answers import final_answer
from superalign_env.humans.selection import Candidate, select
from superalign_env.humans.simulated import SimulatedAnnotator, work_through
from superalign_env.protocols import HasGold, Scenario
from superalign_env.store.questions import question_id
from superalign_env.types import Episode, Question, Signal
from superalign_training.oversight.labels import Statement
from superalign_training.oversight.settings import Person
from superalign_training.selfplay.driver import StageContext
from superalign_training.selfplay.supervisors.sources import answer_of


class People:
    """The people of a run, asked through the queue.

    Args:
        context: of the stage.
        who: their settings.
    """

    def __init__(self, context: StageContext, people: Sequence[Person]) -> None:
        self._context = context
        self._anybody = bool(people)
        self._simulated = enroll(context, people)

    def write(
        self,
        scenario: Scenario[Any],
        episodes: Sequence[Episode],
        questions: Sequence[Question],
    ) -> list[Statement]:
        """Ask for answers, and return them.

        Args:
            scenario: that the episodes are of; people are simulated by its truth.
            episodes: what the questions are about; they are stored first.
            questions: of the kind ``answer``; people take turns at them.

        Raises:
            InvalidOption: people cannot be simulated in this scenario.
        """
        return [
            Statement(s.episode, s.source, str(s.payload["text"]), s.confidence)
            for s in self.ask(scenario, episodes, questions)
        ]

    def ask(
        self,
        scenario: Scenario[Any],
        episodes: Sequence[Episode],
        questions: Sequence[Question],
    ) -> list[Signal]:
        """File questions and return the answers so far, in the order of the questions.

        Simulated people answer at once. What real ones said is there where the stage was
        begun before and stopped for want of it: its questions then bore the same ids.
        Arguments and errors as in `write`, for questions of any one kind.
        """
        if not questions or not self._anybody:
            return []
        run = self._context.run
        self._context.writer.flush()
        run.questions.ask(questions)
        if self._simulated:
            self._simulate(scenario, episodes, questions)
        place = {question.id: number for number, question in enumerate(questions)}
        signals = {
            place[signal.question]: signal
            for signal in run.signals.standing(kind=questions[0].kind)
            if signal.question in place
        }
        return [signal for _, signal in sorted(signals.items())]

    def _simulate(
        self,
        scenario: Scenario[Any],
        episodes: Sequence[Episode],
        questions: Sequence[Question],
    ) -> None:
        """Answer questions by simulated people."""
        if not isinstance(scenario, HasGold):
            raise InvalidOption(
                f"nobody can simulate people in {scenario.id}: it has no method gold(episode, "
                "turn, group); add it, or set simulated=false for signals.people, who answer "
                "with `superalign label`"
            )
        run = self._context.run
        by_id = {episode.id: episode for episode in episodes}
        work_through(
            run.questions,
            questions,
            self._simulated,
            episode_of=lambda name: by_id.get(name) or run.episode(name),
            scenario=scenario,
        )


def simulated(person: Person, *, seed: int) -> SimulatedAnnotator:
    """Return the simulated annotator that settings describe."""
    return SimulatedAnnotator(
        person.name,
        group=person.group,
        accuracy=person.accuracy,
        bias=person.bias,
        drift=person.drift,
        fatigue=person.fatigue,
        blind=person.blind,
        seed=seed,
    )


def enroll(context: StageContext, persons: Sequence[Person]) -> list[SimulatedAnnotator]:
    """Enroll people, and return the simulated ones."""
    people = [
        simulated(person, seed=context.run.info.seed)
        for person in persons
        if person.simulated
    ]
    for real in (person for person in persons if not person.simulated):
        context.run.annotators.enroll(real.name, group=real.group)
    for person in people:
        context.run.annotators.enroll(
            person.name, group=person.group, profile=person.profile
        )
    return people


def questions_about(
    episodes: Sequence[Episode],
    statements: Sequence[Statement],
    budget: int,
    *,
    key: int,
    random_share: float,
    round: int,
) -> tuple[Question, ...]:
    """Choose questions: a random slice, and the tasks with the largest disagreement.

    The learner's answer counts as a source in the disagreement. Questions are about the
    first answer to a task: who is asked reads nothing that others said.

    Args:
        episodes: what could be asked about.
        statements: of the panel.
        budget: how many questions at most.
        key: of all chance in here.
        random_share: of the budget.
        round: in which they are asked.
    """
    answers: dict[str, list[str]] = {}
    for statement in statements:
        answers.setdefault(statement.item, []).append(final_answer(statement.answer))
    candidates = []
    for episode in episodes:
        texts = [*answers.get(episode.id, []), final_answer(answer_of(episode).text)]
        agreement = max(map(texts.count, texts)) / len(texts)
        # One source, the less confident the more answers differ; 0.5 is no information.
        scores: Mapping[str, float] = {"panel": 0.5 + agreement / 2}
        candidates.append(Candidate(episode.id, episode.utterances[0].turn, scores))
    return select(
        candidates, budget, key, random_share=random_share, kind="answer", round=round
    )


def label_question(episode: str, turn: int, round: int) -> Question:
    """Return a question for an answer's label; the label is never trained on."""
    return Question(
        question_id("label", episode, turn),
        "label",
        episode,
        turn,
        slice="random",
        priority=2.0,
        why="random slice",
        round=round,
    )
