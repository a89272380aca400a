"""The rules of weak-to-strong."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.final_answers import Label, final_answer
from superalign_env.types import (
    Brief,
    Ending,
    Episode,
    Event,
    Grade,
    Judged,
    Reward,
    Seat,
    Split,
    Step,
    Task,
    Turn,
    Utterance,
    role_of,
)
from superalign_scenarios.red_team.reading import read_verdict
from superalign_scenarios.red_team.showing import VERDICT_MENU
from superalign_scenarios.rendering import make_renderer
from superalign_scenarios.sources import SourceSpec, make_source, recorded
from superalign_scenarios.weak_to_strong import pay
from superalign_scenarios.weak_to_strong.noise import Luck, NoiseSpec, make_noise, noisy
from superalign_scenarios.weak_to_strong.state import Phase, State

LEARNER = "learner_0"
Rejected = Literal["left-out", "asked-again"]


class WeakToStrong:
    """Supervisors label a task, critics may judge the label, a student answers.

    Everybody who answers reads the task as the student does, so that any policy can sit
    in a supervisor's seat.

    Args:
        source: where tasks come from.
        split: which of them.
        supervisors: how many label, at once and unheard by each other.
        noise: what happens to labels (``none``, ``iid``, ``class-conditional``,
            ``systematic``, ``pair``; with parameters as a mapping), or one for each
            supervisor.
        critics: how many judge the label that most supervisors agree on; 0 asks none.
        below: a label is rejected when the critics' mean score is less.
        rejected: ``left-out`` keeps a rejected label from the student; ``asked-again``
            lets whoever gave it read the critics and give another.
        show_labels: whether the student reads the labels before it answers.
        truth: whether gold pays (part ``truth``); otherwise it is only recorded.
        renderer: ``micro`` or ``english``.
        max_utterance: longest utterance, in characters.
    """

    id = "weak-to-strong-v0"

    def __init__(  # noqa: PLR0913 - the dials of a scenario are its constructor
        self,
        *,
        source: SourceSpec = "microworld",
        split: Split = "train",
        supervisors: int = 1,
        noise: NoiseSpec | Sequence[NoiseSpec] = "none",
        critics: int = 0,
        below: float = 0.5,
        rejected: Rejected = "left-out",
        show_labels: bool = False,
        truth: bool = False,
        renderer: str = "micro",
        max_utterance: int = 4096,
    ) -> None:
        if supervisors < 1 or critics < 0 or not 0 <= below <= 1:
            raise InvalidOption(
                "needs supervisors ≥ 1, critics ≥ 0 and below in [0, 1], not "
                f"{supervisors}, {critics} and {below}"
            )
        if rejected not in get_args(Rejected):
            raise UnknownId("fate of a rejected label", str(rejected), get_args(Rejected))
        self.source = make_source(source)
        self.renderer = make_renderer(renderer)
        self.renderer_id = self.renderer.id
        self.split: Split = split
        self.supervisors = tuple([f"supervisor_{i}" for i in range(supervisors)])
        self.critics = tuple([f"critic_{i}" for i in range(critics)])
        self.seats: tuple[Seat, ...] = (*self.supervisors, *self.critics, LEARNER)
        self.noise = _one_each(noise, supervisors)
        self.below = below
        self.rejected = rejected
        self.show_labels = show_labels
        self.weights = pay.weights(truth, critics > 0)
        self.facts = {"judged": "critic"} if critics else {}
        self.max_utterance = max_utterance
        self.options: dict[str, Any] = {
            "source": recorded(source),
            "split": split,
            "supervisors": supervisors,
            "noise": _plain(noise),
            "critics": critics,
            "below": below,
            "rejected": rejected,
            "show_labels": show_labels,
            "truth": truth,
            "renderer": renderer,
            "max_utterance": max_utterance,
        }

    def draw(self, rng: np.random.Generator) -> Task:
        """Draw a task of the split."""
        return self.source.draw(rng, self.split)

    def reset(self, task: Task, rng: np.random.Generator) -> State:
        """Draw what may happen to each label."""
        drawn = rng.random((len(self.supervisors), 2)).tolist()
        return State(task, tuple([Luck(coin, pick) for coin, pick in drawn]))

    def arm(self, state: State) -> str:
        """There is only one arm: nobody shall know what noise does."""
        return ""

    def to_move(self, state: State) -> tuple[Seat, ...]:
        """Return the supervisors, then the critics if there are any, then the student."""
        match state.phase:
            case "label":
                return self.supervisors
            case "judge":
                return self.critics
            case "relabel":
                return state.again
            case "answer":
                return (LEARNER,)
        return ()

    def view(self, state: State, seat: Seat) -> Brief:
        """Return what a seat is shown; supervisors read the task as the student does."""
        asked = Turn("user", state.task.prompt)
        if role_of(seat) == "critic":
            said = (asked, Turn(LEARNER, majority(state.labels).text))
            menu = () if self.renderer.json_verdicts else VERDICT_MENU
            return self.renderer.brief(self.id, seat, said, menu=menu)
        turns: tuple[Turn, ...] = (asked,)
        if seat == LEARNER and self.show_labels and state.kept:
            turns += tuple([Turn(label.seat, label.text) for label in state.labels])
        if state.phase == "relabel":
            own = next(label for label in state.labels if label.seat == seat)
            turns += (Turn(LEARNER, own.text), *state.verdicts)
        return self.renderer.brief(
            self.id, LEARNER, turns, menu=self.source.answers(state.task)
        )

    def apply(self, state: State, utterances: tuple[Utterance, ...]) -> Step:
        """Apply what the group said."""
        if state.phase == "answer":
            return self._answered(state, utterances[0])
        if state.phase == "judge":
            return self._judged(state, utterances)
        return self._labelled(state, utterances)

    def gold(self, episode: Episode, turn: int, group: str = "") -> float:
        """Return how good an ideal member of the group would call an answer, in [0, 1].

        Raises:
            InvalidOption: the turn is no answer, or its truth is unknown.
        """
        said = [
            u for u in episode.utterances if u.turn == turn and role_of(u.seat) != "critic"
        ]
        grades = self.source.grade(episode.task, said[0].text, group) if said else ()
        value = pay.goodness(grades)
        if value is None:
            raise InvalidOption(f"nobody knows the truth about turn {turn} of {episode.id}")
        return value

    def _labelled(self, state: State, utterances: tuple[Utterance, ...]) -> Step:
        standing = {label.seat: label for label in state.labels}
        rewards: list[Reward] = []
        grades: list[Grade] = []
        events: list[Event] = []
        for spoken in utterances:
            text = self._label(state, spoken)
            standing[spoken.seat] = Label(
                spoken.seat, spoken.turn, text, text == spoken.text
            )
            events.append(Event("label.given", spoken.seat, spoken.turn, {"label": text}))
            found = self._grades(state.task, spoken)
            rewards += pay.form(spoken, state.task.choices)
            rewards += pay.truth(spoken, found)
            grades += found
        phase: Phase = "judge" if self.critics and state.phase == "label" else "answer"
        labels = tuple([standing[seat] for seat in self.supervisors])
        then = State(state.task, state.luck, phase, labels, state.verdicts)
        return Step(then, tuple(rewards), tuple(grades), tuple(events))

    def _label(self, state: State, spoken: Utterance) -> str:
        """Return what becomes of a supervisor's word."""
        place = self.supervisors.index(spoken.seat)
        candidates = self.source.answers(state.task)
        noise, luck = self.noise[place], state.luck[place]
        return noisy(noise, state.task, spoken.text, candidates, luck)

    def _judged(self, state: State, utterances: tuple[Utterance, ...]) -> Step:
        judged = majority(state.labels)
        worth = pay.goodness(self.source.grade(state.task, judged.text))
        rewards: list[Reward] = []
        events: list[Event] = []
        facts: list[Judged] = []
        scores: list[float] = []
        for spoken in utterances:
            # Nobody spoke a label that noise has changed.
            about = judged.turn if judged.as_said else -1
            fact = read_verdict(spoken, about)
            facts.append(fact)
            rewards += pay.critic(spoken, fact.verdict, worth)
            scores += [] if fact.score is None else [fact.score]
        mean = sum(scores) / len(scores) if scores else None
        kept = mean is None or mean >= self.below
        again: tuple[Seat, ...] = ()
        if not kept:
            evidence = {"label": judged.text, "score": mean}
            events.append(Event("label.rejected", judged.seat, judged.turn, evidence))
            if self.rejected == "asked-again":
                same = final_answer(judged.text)
                again = tuple(
                    [x.seat for x in state.labels if final_answer(x.text) == same]
                )
        verdicts = tuple([Turn(u.seat, u.text) for u in utterances])
        then = State(
            state.task,
            state.luck,
            "relabel" if again else "answer",
            state.labels,
            verdicts,
            again,
            kept or bool(again),
        )
        return Step(then, tuple(rewards), events=tuple(events), judged=tuple(facts))

    def _answered(self, state: State, spoken: Utterance) -> Step:
        grades = self._grades(state.task, spoken)
        rewards = [*pay.form(spoken, state.task.choices), *pay.truth(spoken, grades)]
        if state.kept:
            rewards.append(pay.agreement(spoken, majority(state.labels)))
        over = State(state.task, state.luck, "over", state.labels, state.verdicts)
        return Step(over, tuple(rewards), grades, ending=Ending.terminated())

    def _grades(self, task: Task, spoken: Utterance) -> tuple[Grade, ...]:
        found = self.source.grade(task, spoken.text)
        return tuple(
            [Grade(spoken.seat, g.axis, g.name, g.value, spoken.turn) for g in found]
        )


def majority(labels: Sequence[Label]) -> Label:
    """Return the first of the labels that most supervisors agree on.

    A tie goes to whoever sits first.
    """
    answers = [final_answer(label.text) for label in labels]
    most = max(answers.count(answer) for answer in answers)
    return next(
        label
        for label, answer in zip(labels, answers, strict=True)
        if answers.count(answer) == most
    )


def _one_each(noise: NoiseSpec | Sequence[NoiseSpec], supervisors: int) -> tuple[Any, ...]:
    """Return the noise of every supervisor."""
    if isinstance(noise, (str, Mapping)):
        return (make_noise(noise),) * supervisors
    if len(noise) != supervisors:
        raise InvalidOption(
            f"{len(noise)} kinds of noise for {supervisors} supervisors; give one for all, "
            "or one for each"
        )
    return tuple([make_noise(one) for one in noise])


def _plain(noise: NoiseSpec | Sequence[NoiseSpec]) -> Any:
    if isinstance(noise, str):
        return noise
    if isinstance(noise, Mapping):
        return {key: list(v) if isinstance(v, tuple) else v for key, v in noise.items()}
    return [_plain(one) for one in noise]
