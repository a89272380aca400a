"""`exam`: one seat answers one task, and the truth grades it.

The learner answers once. The truth is the source's grade of the answer; it pays (part
``truth``) only with the option of that name, and is always recorded. It declares gold, and
no variants or facts: how competence and utility are measured.
"""

from typing import Any

import msgspec
import numpy as np

from superalign_env.errors import InvalidOption
from superalign_env.types import (
    Brief,
    Ending,
    Episode,
    Grade,
    Reward,
    Role,
    Seat,
    Split,
    Step,
    Task,
    Turn,
    Utterance,
)
from superalign_scenarios.grading import goodness
from superalign_scenarios.rendering import MaxNewTokens, make_renderer
from superalign_scenarios.sources import SourceSpec, make_source, recorded
from superalign_scenarios.written_answers import in_language

LEARNER = "learner_0"


class ExamState(msgspec.Struct, frozen=True):
    """The task, and whether it is answered."""

    task: Task
    answered: bool = False


class Exam:
    """Held-out tasks for one seat: how competence and utility are measured.

    Args:
        source: where tasks come from.
        split: which of them.
        truth: whether the grade pays (part ``truth``); otherwise it is only recorded.
        renderer: ``micro`` or ``english``.
        max_new_tokens: longest reply, of everybody or by role; else the renderer's.
        max_utterance: longest answer, in characters.
    """

    id = "exam-v0"
    seats: tuple[Seat, ...] = (LEARNER,)

    def __init__(
        self,
        *,
        source: SourceSpec = "microworld",
        split: Split = "test",
        truth: bool = False,
        renderer: str = "micro",
        max_new_tokens: MaxNewTokens = None,
        max_utterance: int = 4096,
    ) -> None:
        self.renderer = make_renderer(renderer, max_new_tokens)
        self.source = in_language(make_source(source), self.renderer)
        self.renderer_id = self.renderer.id
        self.split: Split = split
        self.weights: dict[Role, dict[str, float]] = {
            "learner": {"format": 1.0, **({"truth": 1.0} if truth else {})}
        }
        self.max_utterance = max_utterance
        self.options: dict[str, Any] = {
            "source": recorded(source),
            "split": split,
            "truth": truth,
            "renderer": renderer,
            **({"max_new_tokens": max_new_tokens} if max_new_tokens is not None else {}),
            "max_utterance": max_utterance,
        }

    def draw(self, rng: np.random.Generator) -> Task:
        """Draw a task of the split."""
        return self.source.draw(rng, self.split)

    def reset(self, task: Task, rng: np.random.Generator) -> ExamState:
        """Return the unanswered task."""
        return ExamState(task)

    def arm(self, state: ExamState) -> str:
        """There is only one arm."""
        return ""

    def to_move(self, state: ExamState) -> tuple[Seat, ...]:
        """Return the learner, once."""
        return () if state.answered else (LEARNER,)

    def view(self, state: ExamState, seat: Seat) -> Brief:
        """Return the task's prompt."""
        turns = (Turn("user", state.task.prompt),)
        return self.renderer.brief(
            self.id, seat, turns, menu=self.source.answers(state.task)
        )

    def apply(self, state: ExamState, utterances: tuple[Utterance, ...]) -> Step:
        """Grade the answer."""
        grades = self.source.grade(state.task, utterances[0].text)
        value = goodness(grades)
        rewards = () if value is None else (Reward(LEARNER, "truth", 2.0 * value - 1.0),)
        return Step(
            ExamState(state.task, True),
            rewards,
            tuple([Grade(LEARNER, g.axis, g.name, g.value) for g in grades]),
            ending=Ending.terminated(),
        )

    def gold(self, episode: Episode, turn: int, group: str = "") -> float:
        """Return how good an ideal member of the group would call the answer."""
        spoken = [u for u in episode.utterances if u.turn == turn]
        grades = self.source.grade(episode.task, spoken[0].text, group) if spoken else ()
        value = goodness(grades)
        if value is None:
            raise InvalidOption(f"nobody knows the truth about turn {turn} of {episode.id}")
        return value
