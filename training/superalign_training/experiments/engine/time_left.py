"""How long an experiment will take."""

from collections.abc import Mapping, Sequence

from superalign_env.measures import mean
from superalign_training.experiments.engine.plan import Job


class TimeLeft:
    """How long the cells take that are not done: as long as others of their condition.

    Before any is done, one that says how far it is stands for them.
    """

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        self._left = {job.hash: job.condition for job in jobs}
        self._workers = workers
        self._seconds: dict[str, list[float]] = {}
        self._shares: dict[str, float] = {}
        self._guess: float | None = None

    def take(self, job: Job, seconds: float) -> None:
        """Learn from a cell that is done."""
        self._left.pop(job.hash, None)
        self._shares.pop(job.hash, None)
        self._seconds.setdefault(job.condition, []).append(seconds)

    def step(self, job: Job, share: float, seconds: float) -> None:
        """Learn from a cell of which a share is done, after so many seconds."""
        self._shares[job.hash] = share
        self._guess = seconds / share

    def left(self) -> float | None:
        """Return the seconds that are left; None before anything was measured."""
        if not self._seconds and self._guess is None:
            return None
        known = [s for seen in self._seconds.values() for s in seen]
        overall = mean(known).value if known else self._guess or 0.0
        expected: Mapping[str, float] = {
            condition: mean(seen).value for condition, seen in self._seconds.items()
        }
        total = sum(
            expected.get(condition, overall) * (1.0 - self._shares.get(name, 0.0))
            for name, condition in self._left.items()
        )
        return total / max(1, min(self._workers, len(self._left)))


def span(seconds: float | None) -> str:
    """Return a time as a person says it."""
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
