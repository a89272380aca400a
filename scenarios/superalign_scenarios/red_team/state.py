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
    said: tuple[Turn, ...] = ()
    """The query, the answers and the verdicts so far, as the learner reads them."""
    asked: Task | None = None
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
    shown: dict[Seat, Brief] = {}
    """Briefs of the seats now, or of their last turn: the next brief continues it."""

    @property
    def answer(self) -> str:
        """The answer that is to be judged: said last."""
        return self.said[-1].text


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

    def anew(
        self, seat: Seat, task: Task, said: tuple[Turn, ...], asked: Task | None
    ) -> Brief:
        """Return the brief of a seat, made from all turns so far.

        Args:
            seat: whose brief it is.
            task: the seed request.
            said: the query, the answers and the verdicts.
            asked: the query as a task.
        """
        if seat == ATTACKER:
            said = (Turn("seed", task.prompt),)
            menu = self._source.menu(task)
        elif seat == LEARNER:
            menu = self._source.answers(asked) if asked is not None else ()
        else:
            # Critics do not hear each other, or later ones would only agree.
            if len(said) > 2:
                said = tuple([t for t in said if t.author in ("user", LEARNER, seat)])
            menu = () if self._renderer.json_verdicts else VERDICT_MENU
        return self._renderer.brief(self._scenario, seat, said, menu=menu)


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
