"""What people said, as far as a stage may learn from it."""

from superalign_env.store import standing
from superalign_env.types import Signal
from superalign_training.loop.driver import Bench


def heard(bench: Bench) -> list[Signal]:
    """Return what people said before the stage began, and did not take back.

    Answers of the random slice are for evaluation and left out; a veto always counts.
    """
    said = standing(bench.run.signals.read(upto=bench.signals_to))
    drawn = random_slice(bench)
    return [
        signal for signal in said if signal.kind == "veto" or signal.question not in drawn
    ]


def random_slice(bench: Bench) -> set[str]:
    """Return the questions whose answers are for evaluation, never for training."""
    return {q.id for q in bench.run.questions.all() if q.slice == "random"}
