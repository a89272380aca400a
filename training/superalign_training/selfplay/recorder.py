"""Metrics of optimiser updates, written to the record in batches and passed to the loggers."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from types import TracebackType
from typing import Protocol, Self

from superalign_env.rewards import ADDED, HUMAN, HumanPay, by_episode, paid
from superalign_env.store import Run, Stage, declare
from superalign_env.types import Episode, Metric, Role, Seat, Signal
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.data.rows import difference

PREFIX = "train/"
BATCH = 1000
"""Rows that wait at most for one transaction …"""
SECONDS = 5.0
"""… and for how long, so that whoever watches a run sees it move."""


class Sink(Protocol):
    """Receiver of recorded rows."""

    def log(self, rows: Sequence[Metric]) -> object:
        """Take rows, in order."""
        ...


class _Counted(Protocol):
    @property
    def updates(self) -> int: ...


class _Named(Protocol):
    @property
    def id(self) -> str: ...


class MetricRecorder:
    """Writer of one stage's metrics. As a context it writes the waiting ones at its end.

    Args:
        run: the record.
        stage: that the metrics are of.
        sink: is handed the same rows; None is nobody.
    """

    def __init__(self, run: Run, stage: Stage, sink: Sink | None = None) -> None:
        self._run = run
        self._stage = stage
        self._sink = sink
        self._waiting: list[Metric] = []
        self._since = time.monotonic()

    def on_step(
        self, role: Role, policy: _Counted, algorithm: _Named, **tags: str
    ) -> OnStep:
        """Return an algorithm's callback for the metrics of every update.

        Args:
            role: whose policy is trained.
            policy: its count of updates is the step of the metrics.
            algorithm: that trains it.
            **tags: whatever else tells these metrics from others of the stage.
        """
        placed = {"role": role, "stage": self._stage.name, "algorithm": algorithm.id}
        placed |= {"round": str(self._stage.round), **tags}
        if self._stage.generation:
            placed["generation"] = str(self._stage.generation)

        def record(_: int, numbers: Mapping[str, float]) -> None:
            step = policy.updates
            self._waiting += [
                Metric(f"{PREFIX}{name}", value, tags=placed, step=step)
                for name, value in numbers.items()
                if isfinite(value)
            ]
            if len(self._waiting) >= BATCH or time.monotonic() - self._since > SECONDS:
                self.flush()

        return record

    def write(self, metrics: Sequence[Metric]) -> None:
        """Write metrics at once, after the waiting ones."""
        self.flush()
        self._write(metrics)

    def flush(self) -> None:
        """Write the waiting metrics."""
        waiting, self._waiting = self._waiting, []
        self._write(waiting)
        self._since = time.monotonic()

    def _write(self, metrics: Sequence[Metric]) -> None:
        if metrics:
            self._run.metrics.write(metrics, stage=self._stage.id)
            if self._sink is not None:
                self._sink.log(metrics)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.flush()


class RewardMeans:
    """Mean reward of a seat by part, over the episodes since the last call."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._plays = 0

    def add(
        self,
        episodes: Iterable[Episode],
        learners: Iterable[tuple[str, Seat]],
        signals: Iterable[Signal] = (),
        rules: HumanPay = ADDED,
    ) -> None:
        """Add the rewards of episodes.

        Args:
            episodes: that were played.
            learners: (episode, seat) of all that is learned from.
            signals: that paid beside the rewards: the part ``human`` is what they changed.
            rules: how they paid.
        """
        learned: dict[str, set[Seat]] = defaultdict(set)
        for name, seat in learners:
            learned[name].add(seat)
        about = by_episode(signals)
        for episode in episodes:
            seats = learned.get(episode.id, set())
            self._plays += len(seats)
            for reward in episode.rewards:
                value = paid(reward, episode.weights)
                if reward.seat in seats and value is not None:
                    self._sums[reward.part] = self._sums.get(reward.part, 0.0) + value
            if answers := about.get(episode.id):
                changes = difference(episode, (), answers, rules)
                human = sum(v for (seat, _), v in changes.items() if seat in seats)
                self._sums[HUMAN] = self._sums.get(HUMAN, 0.0) + human

    def take(self) -> dict[str, float]:
        """Return ``reward/PART`` → mean reward of a seat in an episode, and reset."""
        plays, self._plays = self._plays, 0
        means = {}
        for part, total in self._sums.items():
            declare(f"{PREFIX}reward/{part}", f"Reward by part: {part}", better="higher")
            means[f"reward/{part}"] = total / plays if plays else 0.0
        self._sums = {}
        return means
