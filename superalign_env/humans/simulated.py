"""People who are not there: annotators that know the truth and corrupt it.

Together with evaluation this is the only caller of a scenario's `gold`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.humans.authoring import written
from superalign_env.humans.authority import proposed
from superalign_env.protocols import HasGold
from superalign_env.seeding import generator, label, mix
from superalign_env.store.questions import Questions
from superalign_env.types import Episode, Question, Signal

_COIN = 0.5

_AT_ONCE = 64
"""Questions that a simulated person leases at once: looking for open ones takes time."""


class SimulatedAnnotator:
    """Answers questions as an imperfect member of a group of people would.

    The answer to one question depends on the seed, the annotator's name and the
    question's id, on its round (drift) and on how many were answered before (fatigue):
    never on when it is asked, or beside which others.

    Args:
        name: source of its signals.
        group: whose values it holds.
        accuracy: probability of saying what an ideal member of the group would say.
        bias: leniency, in [−1, 1]: added to the error rate on bad turns and taken from
            it on good ones. Negative is strictness.
        drift: what a round adds to the bias.
        fatigue: what every answer takes from the accuracy, down to a coin flip.
        blind: words that it cannot tell apart where it writes answers of its own.
        seed: of its errors.

    Raises:
        InvalidOption: an accuracy, bias or fatigue out of range.
    """

    def __init__(
        self,
        name: str = "simulated",
        *,
        group: str = "everyone",
        accuracy: float = 0.9,
        bias: float = 0.0,
        drift: float = 0.0,
        fatigue: float = 0.0,
        blind: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        if not (0 <= accuracy <= 1 and -1 <= bias <= 1 and 0 <= fatigue <= 1):
            raise InvalidOption(
                "needs accuracy in [0, 1], bias in [-1, 1] and fatigue in [0, 1], not "
                f"{accuracy}, {bias} and {fatigue}"
            )
        if not abs(drift) <= 1:
            raise InvalidOption(
                f"drift is the change of bias per round, in [-1, 1], not {drift}"
            )
        self.name = name
        self.group = group
        self._accuracy = accuracy
        self._bias = bias
        self._drift = drift
        self._fatigue = fatigue
        self._blind = tuple(blind)
        self._seed = mix(seed, label(name))

    @property
    def profile(self) -> dict[str, Any]:
        """What `Annotators.enroll` records: it is no person, and how it errs."""
        return {
            "simulated": True,
            "accuracy": self._accuracy,
            "bias": self._bias,
            "drift": self._drift,
            "fatigue": self._fatigue,
            **({"blind": list(self._blind)} if self._blind else {}),
        }

    def answer(
        self,
        question: Question,
        episode: Episode,
        scenario: HasGold,
        *,
        answered: int = 0,
        other: Episode | None = None,
    ) -> Signal | None:
        """Return what the annotator says; None where it has no veto to cast.

        Args:
            question: about a turn, or a pair of turns, of the episode.
            episode: the record.
            scenario: whose `gold` is asked.
            answered: how many questions it answered before, for fatigue.
            other: the record of the other episode of a pair, where there is one.

        Raises:
            InvalidOption: nobody can answer it (raised by the scenario).
        """
        rng = generator(mix(self._seed, label(question.id)))
        tie, luck = rng.random(2).tolist()
        if question.kind == "answer":
            accuracy = self._accuracy_after(answered)
            text = written(
                scenario,
                episode,
                question.turn,
                group=self.group,
                slips=luck < 1.0 - accuracy,
                pick=tie,
                blind=self._blind,
            )
            return self._signal(question, 1.0, accuracy, text=text)
        value = scenario.gold(episode, question.turn, self.group)
        if question.kind == "preference":
            rival = scenario.gold(
                _of_rival(question, episode, other), question.versus, self.group
            )
            value = float(tie < _COIN) if value == rival else float(value > rival)
        elif question.kind in ("vote", "veto"):
            value = float(value >= _COIN)
        accuracy = self._accuracy_after(answered)
        lenient = 0.0 if question.kind == "preference" else self._bias_in(question.round)
        error = 1.0 - accuracy + (lenient if value < _COIN else -lenient)
        if luck < error:
            value = 1.0 - value
        if question.kind == "veto" and value >= _COIN:
            return None
        return self._signal(question, value, accuracy)

    def _signal(
        self, question: Question, value: float, confidence: float, **payload: Any
    ) -> Signal:
        return Signal(
            question.kind,
            question.episode,
            question.turn,
            self.name,
            value,
            question.versus,
            question.versus_episode,
            confidence,
            {"group": self.group, **payload},
            question.id,
        )

    def _accuracy_after(self, answered: int) -> float:
        """Return the accuracy of a tired annotator; one below a coin flip stays as bad."""
        return max(min(_COIN, self._accuracy), self._accuracy - self._fatigue * answered)

    def _bias_in(self, round_: int) -> float:
        return self._bias + self._drift * round_


def _of_rival(question: Question, episode: Episode, other: Episode | None) -> Episode:
    """Return the episode of the other turn of a pair.

    Raises:
        InvalidOption: it is another one, and was not given.
    """
    if question.versus_episode is None:
        return episode
    if other is None or other.id != question.versus_episode:
        raise InvalidOption(
            f"question {question.id} compares {question.episode} with "
            f"{question.versus_episode}; give the record of both (other=)"
        )
    return other


def work_off(
    questions: Questions,
    annotator: SimulatedAnnotator,
    *,
    episode_of: Callable[[str], Episode],
    scenario: HasGold,
    limit: int | None = None,
) -> list[Signal]:
    """Let an annotator answer open questions through the same queue that people use.

    What nobody can answer, and where it has no veto to cast, is skipped with the reason.

    Args:
        questions: the queue, ``run.questions``.
        annotator: who answers; enroll it first, so that its group is recorded.
        episode_of: returns the record of an episode id, ``run.episode``.
        scenario: whose `gold` is asked.
        limit: how many questions at most; all open ones when absent.

    Returns:
        The answers as they were stored.
    """
    signals: list[Signal] = []
    remaining = _AT_ONCE if limit is None else limit
    while claimed := questions.claim_many(annotator.name, min(remaining, _AT_ONCE)):
        remaining -= 0 if limit is None else len(claimed)
        with questions.at_once():
            for question in claimed:
                signal = _answered(
                    questions, question, annotator, episode_of, scenario, len(signals)
                )
                if signal is not None:
                    signals.append(signal)
    return signals


def work_through(
    questions: Questions,
    claimed: Sequence[Question],
    people: Sequence[SimulatedAnnotator],
    *,
    episode_of: Callable[[str], Episode],
    scenario: HasGold,
    before: int = 0,
) -> list[Signal]:
    """Let people take turns at certain questions: the n-th goes to the n-th of them.

    Who answers what depends on the list alone, so that doing it again after an
    interruption fills in what is missing and changes nothing else.

    Args:
        questions: the queue, ``run.questions``, in which they were filed.
        claimed: in the order in which people take turns.
        people: who answers; enroll them first.
        episode_of: returns the record of an episode id, ``run.episode``.
        scenario: whose `gold` is asked.
        before: how many questions they were asked already: whose turn it is, and how tired
            they are.

    Returns:
        The answers that were given now.
    """
    signals: list[Signal] = []
    with questions.at_once():
        for place, question in enumerate(claimed, start=before):
            person = people[place % len(people)]
            if questions.lease(question.id, person.name):
                signal = _answered(
                    questions, question, person, episode_of, scenario, place // len(people)
                )
                signals += [] if signal is None else [signal]
    return signals


def _answered(
    questions: Questions,
    question_here: Question,
    annotator: SimulatedAnnotator,
    episode_of: Callable[[str], Episode],
    scenario: HasGold,
    answered: int,
) -> Signal | None:
    """Return the stored answer to a leased question; None where it was skipped."""
    if proposed(question_here) or question_here.kind == "turn":
        questions.skip(
            question_here.id, annotator.name, why="only people decide, or take a seat"
        )
        return None
    rival = question_here.versus_episode
    try:
        answer = annotator.answer(
            question_here,
            episode_of(question_here.episode),
            scenario,
            answered=answered,
            other=None if rival is None else episode_of(rival),
        )
    except InvalidOption as error:
        questions.skip(question_here.id, annotator.name, why=str(error))
        return None
    if answer is None:
        questions.skip(question_here.id, annotator.name, why="no veto")
        return None
    return questions.answer(
        question_here.id,
        annotator.name,
        value=answer.value,
        confidence=answer.confidence,
        payload=answer.payload,
    )
