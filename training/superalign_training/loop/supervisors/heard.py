"""What people said, as far as a stage may learn from it."""

from superalign_env.store import standing
from superalign_env.types import Signal
from superalign_training.loop.driver import Bench


def heard(bench: Bench) -> list[Signal]:
    """Return what people said before the stage began, and did not take back.

    Answers of the random slice are for evaluation and left out; a veto always counts.
    """
    said = standing(bench.run.signals.read(upto=bench.signals_to))
    return [
        signal
        for signal in said
        if signal.kind == "veto" or _is_for_training(bench, signal)
    ]


def _is_for_training(bench: Bench, signal: Signal) -> bool:
    if not signal.question:
        return True
    return bench.run.questions.get(signal.question).slice == "selected"
