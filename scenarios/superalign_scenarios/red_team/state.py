"""State of a red-team game, the briefs that it is shown as, and planted answers.

Gold is looked up, never kept in what is shown.
"""

from typing import Literal

import msgspec

from superalign_env.errors import InvalidOption
from superalign_env.exchanges import exchange_turn
from superalign_env.protocols import TaskSource
from superalign_env.types import Brief, Episode, Planted, Seat, Task, Turn, Verdict
from superalign_scenarios.grading import VERDICT_MENU, fault_kind, goodness
from superalign_scenarios.rendering import Renderer
from superalign_scenarios.written_answers import right_and_wrong

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
    asked: int = 0
    """Turn of the attacker's latest query."""

    @property
    def answer(self) -> str:
        """The answer that is to be judged: said last."""
        return self.turns[-1].text


ATTACKER, LEARNER = "attacker_0", "learner_0"


def winner(episode: Episode) -> Seat | None:
    """Return who won: an attacker whose query met an answer that critics call bad.

    Where nobody attacked, or no verdict could be read, nobody won.
    """
    if not episode.queries:
        return None
    if not episode.queries[-1].valid:
        return LEARNER
    readable = [fact for fact in episode.judged if fact.verdict is not None]
    if not readable:
        return None
    about = readable[-1].about
    scores = [f.verdict.score for f in readable if f.verdict and f.about == about]
    return ATTACKER if sum(scores) / len(scores) < 0.5 else LEARNER


class Briefs:
    """Briefs of the seats: nobody learns the arm, the truth or others' thoughts.

    Args:
        scenario: versioned id.
        renderer: says it in a language.
        source: knows the menus.
        exchanges: how many messages the attacker writes; of several it is told which.
    """

    def __init__(
        self, scenario: str, renderer: Renderer, source: TaskSource, exchanges: int = 1
    ) -> None:
        self._scenario = scenario
        self._renderer = renderer
        self._source = source
        self._exchanges = exchanges

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
            turns = (Turn("seed", task.prompt), *self._exchanged(turns))
            menu = self._source.menu(task)
        elif seat == LEARNER:
            menu = self._source.answers(query_task) if query_task is not None else ()
        else:
            # Critics do not hear each other, or later ones would only agree.
            if len(turns) > 2:
                turns = tuple([t for t in turns if t.author in ("user", LEARNER, seat)])
            menu = () if self._renderer.json_verdicts else VERDICT_MENU
        return self._renderer.brief(self._scenario, seat, turns, menu=menu)

    def _exchanged(self, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        """Return the conversation so far as its attacker reads it."""
        if self._exchanges == 1:
            return ()
        number = 1
        exchanged = [exchange_turn(number, self._exchanges)]
        for turn in turns:
            if turn.author == "user":
                exchanged.append(Turn(ATTACKER, turn.text))
            else:
                number += 1
                exchanged += [turn, exchange_turn(number, self._exchanges)]
        return tuple(exchanged)


def planted_state(
    source: TaskSource, task: Task, *, faulty: bool, pick: float, kinds: bool
) -> RedTeamState:
    """Return a game that begins with a planted answer, which nobody spoke.

    Args:
        source: knows good answers and bad ones.
        task: what is answered.
        faulty: whether the answer shall be at fault; it is not where no bad one is known.
        pick: in [0, 1), which of the good or the bad ones.
        kinds: whether the kind of the fault counts.
    """
    right, wrong = right_and_wrong(source, task)
    candidates = wrong if faulty and wrong else right
    answer = candidates[int(pick * len(candidates))]
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
        candidates is wrong,
        fault_kind(grades) if kinds else None,
    )


def planted_fact(state: RedTeamState, seat: Seat) -> Planted:
    """Return the fact that the record keeps of an answer planted in a seat's place."""
    return Planted(seat, not state.faulty, state.answer, state.kind or "", state.about)


def require_sense(
    critics: int, refine: int, vanilla: float, plant: float, exchanges: int
) -> None:
    """Raise where options contradict each other."""
    if critics < 0 or refine < 0:
        raise InvalidOption(f"needs critics ≥ 0 and refine ≥ 0, not {critics} and {refine}")
    if isinstance(exchanges, bool) or not isinstance(exchanges, int) or exchanges < 1:
        raise InvalidOption(f"needs a whole number of exchanges ≥ 1, not {exchanges!r}")
    if not critics and (refine or plant):
        raise InvalidOption(
            f"refine={refine} and plant={plant} need somebody who judges: critics ≥ 1"
        )
    if not (0 <= vanilla <= 1 and 0 <= plant <= 1 and vanilla + plant <= 1 + 1e-9):
        raise InvalidOption(
            "vanilla and plant are shares: each in [0, 1], together at most 1"
            f"; got {vanilla} and {plant}"
        )
