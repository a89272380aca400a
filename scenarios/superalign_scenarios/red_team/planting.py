"""Answers of known worth that stand in the learner's place: what critics learn from."""

from superalign_env.protocols import TaskSource
from superalign_env.types import Planted, Seat, Task, Turn
from superalign_scenarios.red_team import pay
from superalign_scenarios.red_team.faults import fault_kind
from superalign_scenarios.red_team.state import State


def planted(
    source: TaskSource, task: Task, *, faulty: bool, pick: float, kinds: bool
) -> State:
    """Return a game that begins with an answer nobody spoke.

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
    return State(
        task,
        "planted",
        "judge",
        (Turn("user", task.prompt), Turn("learner_0", answer)),
        task,
        -1,
        pay.goodness(grades),
        (),
        answer != good,
        fault_kind(grades) if kinds else None,
    )


def recorded(state: State, seat: Seat) -> Planted:
    """Return what the record says of the answer that stands in the place of a seat."""
    return Planted(seat, not state.faulty, state.answer, state.kind or "", state.about)
