"""An experiment: conditions, seeds, a cell for each pair, and what the cells say together.

One file an experiment, which holds one `Experiment`. `run_experiment` computes a cell once,
keeps it in the record, and finds it again by its parameters, seed and revision.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from superalign_env.canonical import content_hash, from_json, to_json
from superalign_env.errors import InvalidOption, RecordLocked
from superalign_env.measures import Estimate, Paired, Ratio, mean
from superalign_env.store.run_lock import RunLock
from superalign_env.types import Metric
from superalign_training.selfplay.driver import Moment

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

CELLS = "cells"
SHARED = "shared"

Params = Mapping[str, Any]
"""Parameters of a condition: plain JSON values."""

Values = Mapping[str, Any]
"""Return value of a cell: plain JSON values."""

Outcomes = Mapping[str, Mapping[int, Values]]
"""Condition → seed → return value of the cell. Every condition has every seed."""

Figure = Estimate | Paired | Ratio | float | int | str | bool | None
"""One figure of a result."""


class ResultTable(NamedTuple):
    """A table for people; estimates are shown with their intervals."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Figure]]


class ExperimentResult(NamedTuple):
    """The figures of an experiment, over all its cells."""

    figures: Mapping[str, Figure]
    """Exact name → figure; printed in the last line."""
    tables: Sequence[ResultTable] = ()
    sentence: str = ""
    """What it means, in plain words."""


class CellContext:
    """The surroundings of a cell: its folder, shared files, its progress and its cost.

    Made by the engine.

    Args:
        root: folder of the experiment.
        name: hash of the cell.
        scope: what shared folders depend on beside their key: experiment, revision, code.
        on_progress: is given the share of the cell that is done.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        *,
        scope: str,
        on_progress: Callable[[float], object] = lambda share: None,
    ) -> None:
        self._root = root
        self._name = name
        self._scope = scope
        self._on_progress = on_progress
        self._share = 0.0
        self._spent: dict[str, float] = {}

    @property
    def folder(self) -> Path:
        """The cell's own folder, made at first use.

        After a kill the cell is computed again and finds its files: a self-play run in the
        folder continues (``resume=True``).
        """
        folder = self._root / CELLS / self._name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def step(self, done: float, total: float) -> None:
        """Report progress of a long cell; may be called often."""
        share = done / total
        if share >= self._share + 0.01:
            self._share = share
            self._on_progress(share)

    def spend(self, unit: str, amount: float) -> None:
        """Add to the cell's cost, as ``tokens`` or ``queries``; CPU seconds are counted."""
        self._spent[unit] = self._spent.get(unit, 0) + amount

    @property
    def spent(self) -> dict[str, float]:
        """Cost so far, by unit."""
        return dict(self._spent)

    def shared(self, make: Callable[[Path], object], /, **key: Any) -> Path:
        """Return a folder that all cells with the same key share; the first one makes it.

        For what many conditions have in common, as the initial weights of a seed.

        Args:
            make: fills an empty folder, from the key alone.
            **key: plain JSON values that identify the folder.
        """
        place = self._root / SHARED / content_hash([self._scope, key])
        folder = place / "made"
        place.mkdir(parents=True, exist_ok=True)
        lock = _wait_for_lock(place)
        try:
            if not folder.exists():
                draft = place / "draft"
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir()
                make(draft)
                draft.rename(folder)
        finally:
            lock.release()
        return folder


class Steps:
    """Watcher of a self-play run in a cell: `SelfPlay(watcher=Steps(context), …)`.

    Args:
        context: of the cell.
    """

    def __init__(self, context: CellContext) -> None:
        self._context = context
        self._place, self._of = 0, 1

    def begin(self, moment: Moment) -> None:
        """Note which stage begins."""
        self._place, self._of = moment.place, moment.of

    def step(self, done: int, total: int, numbers: Mapping[str, float]) -> None:
        """Report progress within a stage."""
        self._context.step(self._place + done / max(total, 1), self._of)

    def end(self, metrics: Sequence[Metric]) -> None:
        """Report a finished stage."""
        self._context.step(self._place + 1, self._of)

    def skip(self, moment: Moment, metrics: Sequence[Metric]) -> None:
        """Report a stage that was finished before."""
        self._context.step(moment.place + 1, moment.of)

    def wait(self, reason: str) -> None:
        """Do nothing: no cell waits for people."""


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """The seeds of an experiment, by purpose.

    Raises:
        InvalidOption: no seeds, negative ones, or claim seeds that were used before.
    """

    claim: tuple[int, ...]
    """Frozen before any of them was run. A result from exactly these is a claim."""
    quick: tuple[int, ...] = (0,)
    """For a trial of the code. Never seeds of the claim."""
    tune: tuple[int, ...] = tuple(range(10))
    """For the choice of settings."""
    spent: tuple[int, ...] = ()
    """Were run with earlier settings whose results led to later ones."""

    def __post_init__(self) -> None:
        if not self.claim or not self.quick:
            raise InvalidOption(
                "an experiment needs at least one seed to claim from and one that is quick"
            )
        if min((*self.claim, *self.quick, *self.tune)) < 0:
            raise InvalidOption("seeds are whole numbers from 0 up")
        looked_at = sorted(set(self.claim) & {*self.quick, *self.tune, *self.spent})
        if looked_at or len(set(self.claim)) < len(self.claim):
            raise InvalidOption(
                f"claim from unspent seeds, each once: {looked_at or self.claim} are used twice"
            )


def column(cells: Mapping[int, Values], *keys: str) -> dict[int, float]:
    """Return one number of every cell of a condition, by seed.

    Args:
        cells: seed → values: ``outcomes["ppo"]``.
        *keys: where the number stands: ``"final"`` or ``"final", "misses"``.

    Raises:
        InvalidOption: a cell has no such number.
    """
    numbers = {}
    for seed, values in cells.items():
        value: Any = values
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                raise InvalidOption(
                    f"the cell of seed {seed} has no {'.'.join(keys)}; it has "
                    f"{', '.join(map(str, values))}"
                )
            value = value[key]
        numbers[seed] = float(value)
    return numbers


def means(outcomes: Outcomes) -> ExperimentResult:
    """Return the mean over seeds of every number that cells of a condition share."""
    figures: dict[str, Figure] = {}
    for condition, cells in outcomes.items():
        first = next(iter(cells.values()), {})
        for key, value in first.items():
            if isinstance(value, int | float) and all(key in v for v in cells.values()):
                name = f"{condition}_{key}".replace("-", "_").replace(" ", "_")
                figures[name] = mean(list(column(cells, key).values()))
    return ExperimentResult(figures)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One question, its conditions and seeds, and the functions that answer it.

    Raises:
        InvalidOption: parameters that are no plain JSON, or overrides of nothing.
    """

    name: str
    """As registered (kind ``experiment``)."""
    question: str
    revision: int | str
    """Raised by hand whenever results change meaning: cells of another one are not used."""
    conditions: Mapping[str, Params]
    """Name → parameters. Frozen; every one of them is run with every seed."""
    seeds: Seeds
    cell: Callable[[Params, int, CellContext], Values]
    """Pure: (parameters, seed, context) → plain JSON. The same ones, the same result."""
    reduce: Callable[[Outcomes], ExperimentResult] = means
    """Sums up all seeds; means and intervals come from `superalign_env.measures`."""
    quick: Params = field(default_factory=dict)
    """Replaces parameters under ``--quick``: under a minute, and not a claim."""
    candidates: Mapping[str, Params] = field(default_factory=dict)
    """What ``--tune`` compares on the tuning seeds instead of the conditions."""
    ready: Callable[[Sequence[Params]], object] = lambda params: None
    """Raises where something that cells need is missing here, before any of them begins."""
    picture: "Callable[[Drawing, Outcomes], None] | None" = None
    """Draws into an empty figure; without one, the figures are drawn with their intervals."""

    def __post_init__(self) -> None:
        if not self.conditions:
            raise InvalidOption(f"experiment {self.name} has no conditions")
        for params in (*self.conditions.values(), *self.candidates.values()):
            plain(params)
        keys = {key for params in self.conditions.values() for key in params}
        if stray := sorted(set(self.quick) - keys):
            raise InvalidOption(
                f"--quick of experiment {self.name} replaces {', '.join(stray)}, which no "
                f"condition has; they have {', '.join(sorted(keys))}"
            )

    def quickly(self) -> dict[str, dict[str, Any]]:
        """Return the conditions with what ``--quick`` replaces."""
        return {
            name: plain(params) | {k: v for k, v in self.quick.items() if k in params}
            for name, params in self.conditions.items()
        }

    def cell_hash(self, params: Params, seed: int) -> str:
        """Return the name of a cell: over experiment, parameters, seed and revision."""
        return content_hash([self.name, plain(params), seed, str(self.revision)])


def plain(params: Params) -> dict[str, Any]:
    """Return parameters as they come back from the record.

    Raises:
        InvalidOption: they are no plain JSON.
    """
    try:
        return from_json(to_json(dict(params)), dict[str, Any])
    except (TypeError, ValueError) as error:
        raise InvalidOption(f"parameters must be plain JSON values: {error}") from error


def _wait_for_lock(place: Path) -> RunLock:
    while True:
        try:
            return RunLock(place)
        except RecordLocked:
            time.sleep(0.1)
