"""The numbers of all steps, and what to say of them in the end."""

from collections.abc import Mapping, Sequence

from superalign_training.algorithms.trainers.arguments import OnStep


class History:
    """Keeps numbers and passes them on.

    Args:
        on_step: called after every step.
    """

    def __init__(self, on_step: OnStep | None) -> None:
        self._steps: list[dict[str, float]] = []
        self._on_step = on_step

    def add(self, numbers: Mapping[str, float]) -> None:
        """Take the numbers of one more step."""
        self._steps.append(dict(numbers))
        if self._on_step is not None:
            self._on_step(len(self._steps), numbers)

    def outcome(self) -> dict[str, float]:
        """Return every number over the last tenth of the steps, and the first reward."""
        tenth = max(1, len(self._steps) // 10)
        outcome = {"reward_first": _mean([n["reward"] for n in self._steps[:tenth]])}
        last = self._steps[-tenth:]
        for name in dict.fromkeys(name for numbers in last for name in numbers):
            outcome[name] = _mean([numbers[name] for numbers in last if name in numbers])
        return outcome


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
