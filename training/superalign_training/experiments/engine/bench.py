"""What a cell finds on its bench: a folder of its own, and what other cells made."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from superalign_env.canonical import content_hash
from superalign_env.errors import RecordDamaged, RecordLocked
from superalign_env.store import Run
from superalign_env.store.run_folder import RunLock
from superalign_env.types import Metric
from superalign_training.loop.driver import Moment

CELLS = "cells"
SHARED = "shared"


class Bench:
    """What a cell finds. Made by the engine.

    Args:
        root: folder of the experiment.
        name: hash of the cell.
        scope: what `shared` things depend on beside their key: experiment, revision, code.
        told: takes the share of the cell that is done.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        *,
        scope: str,
        told: Callable[[float], object] = lambda share: None,
    ) -> None:
        self._root = root
        self._name = name
        self._scope = scope
        self._told = told
        self._share = 0.0
        self._spent: dict[str, float] = {}

    @property
    def folder(self) -> Path:
        """The cell's own folder, made at first sight.

        After a kill the cell is computed again and finds what it left: a self-play run
        within continues (see `begun`).
        """
        folder = self._root / CELLS / self._name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def step(self, done: float, total: float) -> None:
        """Say how much of a long cell is done, for whoever watches; as often as you like."""
        share = done / total
        if share >= self._share + 0.01:
            self._share = share
            self._told(share)

    def spend(self, unit: str, amount: float) -> None:
        """Add to the cell's cost, as ``tokens`` or ``queries``; CPU seconds are counted."""
        self._spent[unit] = self._spent.get(unit, 0) + amount

    @property
    def spent(self) -> dict[str, float]:
        """What was spent so far."""
        return dict(self._spent)

    def shared(self, make: Callable[[Path], object], /, **key: Any) -> Path:
        """Return a folder that all cells with the same key share; the first one makes it.

        For what is the same in many conditions, as the initial weights of a seed.

        Args:
            make: fills an empty folder, from the key alone.
            **key: plain JSON values that say what it is.
        """
        place = self._root / SHARED / content_hash([self._scope, key])
        made = place / "made"
        place.mkdir(parents=True, exist_ok=True)
        lock = _waited_for(place)
        try:
            if not made.exists():
                draft = place / "draft"
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                make(draft)
                draft.rename(made)
        finally:
            lock.release()
        return made


class Steps:
    """Watches a self-play run within a cell: `SelfPlay(watcher=Steps(bench), …)`.

    Args:
        bench: of the cell.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._place, self._of = 0, 1

    def begin(self, moment: Moment) -> None:
        """A stage begins."""
        self._place, self._of = moment.place, moment.of

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Something countable was done."""
        self._bench.step(self._place + done / max(total, 1), self._of)

    def end(self, metrics: Sequence[Metric]) -> None:
        """The stage is done."""
        self._bench.step(self._place + 1, self._of)

    def skip(self, moment: Moment, metrics: Sequence[Metric]) -> None:
        """The stage was done before."""
        self._bench.step(moment.place + 1, moment.of)

    def wait(self, reason: str) -> None:
        """The stage stands still; nobody is waited for in a cell."""


def begun(folder: Path) -> bool:
    """Return whether a run was begun in a folder, and can therefore be resumed."""
    if not (folder / "run.db").is_file():
        return False
    try:
        Run.open(folder, readonly=True).close()
    except RecordDamaged:
        # Killed before its first row was written, or broken: making it anew says which.
        return False
    return True


def _waited_for(place: Path) -> RunLock:
    while True:
        try:
            return RunLock(place)
        except RecordLocked:
            time.sleep(0.1)
