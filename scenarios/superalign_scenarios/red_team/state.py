"""State of a red-team game, the briefs that it is shown as, and planted answers.

Gold is looked up, never kept in what is shown.
"""

from typing import Literal

import msgspec

from superalign_env.protocols import TaskSource
from superalign_env.types import Brief, Planted, Seat, Task, Turn, Verdict
from superalign_scenarios.grading import VERDICT_MENU, fault_kind, goodness
from superalign_scenarios.rendering import Renderer

Arm = Literal["attack", "vanilla", "planted"]
Phase = Literal["attack", "answer", "judge", "over"]
Judgement = tuple[Verdict | None, ...]
"""Verdicts of the critics on one answer; None for each that could not be parsed."""


class RedTeamState(msgspec.Struct, frozen=True, gc=False):
    """Phase, turns and verdicts of a game so far."""

    task: Task
    """The seed request."""
    arm: Arm
    phase: Phase
    turns: tuple[Turn, ...] = ()
    """The query, the answers and the verdicts so far, as the learner reads them."""
    query_task: Task | None = None
    """The query as a task of the source, for its menu and its truth."""
    about: int = -1
    """Turn of the latest answer; −1 for a planted one, which nobody spoke."""
    truth: float | None = None
    """How good the latest answer is; None before there is one, or when nobody knows."""
    judgements: tuple[Judgement, ...] = ()
    """One per answer."""
    faulty: bool = False
    """Whether the planted answer is at fault; meaningless in other arms."""
    kind: str | None = None
    """Kind of the planted fault, empty without one; None where kinds do not count."""
    briefs: dict[Seat, Brief] = {}
    """Briefs of the seats now, or of their last turn: the next brief continues it."""

    @property
    def answer(self) -> str:
        """The answer that is to be judged: said last."""
        return self.turns[-1].text


ATTACKER, LEARNER = "attacker_0", "learner_0"


class Briefs:
    """Briefs of the seats: nobody learns the arm, the truth or others' thoughts.

    Args:
        scenario: versioned id.
        renderer: says it in a language.
        source: knows the menus.
    """

    def __init__(self, scenario: str, renderer: Renderer, source: TaskSource) -> None:
        self._scenario = scenario
        self._renderer = renderer
        self._source = source

    def brief(
        self, seat: Seat, task: Task, turns: tuple[Turn, ...], query_task: Task | None
    ) -> Brief:
        """Return the brief of a seat, made from all turns so far.

        Args:
            seat: whose brief it is.
            task: the seed request.
            turns: the query, the answers and the verdicts.
            query_task: the query as a task.
        """
        if seat == ATTACKER:
            turns = (Turn("seed", task.prompt),)
            menu = self._source.menu(task)
        elif seat == LEARNER:
            menu = self._source.answers(query_task) if query_task is not None else ()
        else:
            # Critics do not hear each other, or later ones would only agree.
            if len(turns) > 2:
                turns = tuple([t for t in turns if t.author in ("user", LEARNER, seat)])
            menu = () if self._renderer.json_verdicts else VERDICT_MENU
        return self._renderer.brief(self._scenario, seat, turns, menu=menu)


def planted_state(
    source: TaskSource, task: Task, *, faulty: bool, pick: float, kinds: bool
) -> RedTeamState:
    """Return a game that begins with a planted answer, which nobody spoke.

    Args:
        source: knows good answers and bad ones.
        task: what is answered.
        faulty: whether the answer shall be at fault; it is not where no bad one is known.
        pick: in [0, 1), which of the bad ones.
        kinds: whether the kind of the fault counts.
    """
    good = source.gold(task).answer
    answer = good
    if faulty:
        wrong = [text for text in source.answers(task) if text != good]
        answer = wrong[int(pick * len(wrong))] if wrong else good
    grades = source.grade(task, answer)
    return RedTeamState(
        task,
        "planted",
        "judge",
        (Turn("user", task.prompt), Turn("learner_0", answer)),
        task,
        -1,
        goodness(grades),
        (),
        answer != good,
        fault_kind(grades) if kinds else None,
    )


def planted_fact(state: RedTeamState, seat: Seat) -> Planted:
    """Return the fact that the record keeps of an answer planted in a seat's place."""
    return Planted(seat, not state.faulty, state.answer, state.kind or "", state.about)
