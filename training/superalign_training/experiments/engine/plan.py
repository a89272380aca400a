"""The plan of one call of an experiment: conditions, seeds, and whether it is a claim."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from superalign_env.errors import InvalidOption
from superalign_training.experiments.engine.experiment import (
    Experiment,
    ExperimentResult,
    Outcomes,
    Values,
    means,
    plain,
)

Mode = Literal["full", "quick", "tune"]

_SEEDS = re.compile(r"(\d+)(?::(\d+))?")


class Job(NamedTuple):
    """A cell to compute."""

    hash: str
    condition: str
    """The first one that has these parameters."""
    params: dict[str, Any]
    seed: int


class Plan(NamedTuple):
    """The conditions and seeds of one call."""

    experiment: Experiment
    mode: Mode
    conditions: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]

    @property
    def status(self) -> str:
        """Whether the result is a claim, and if not, why not."""
        if self.mode != "full":
            return {"quick": "quick: not a claim", "tune": "tuning: not a claim"}[self.mode]
        frozen = set(self.seeds) == set(self.experiment.seeds.claim)
        return "claim" if frozen else "exploratory: not a claim"

    @property
    def reduce(self) -> Callable[[Outcomes], ExperimentResult]:
        """The function that sums the cells up: candidates of a tuning get plain means."""
        compared = self.mode == "tune" and self.experiment.candidates
        return means if compared else self.experiment.reduce

    def jobs(self) -> list[Job]:
        """Return every cell once: all conditions of a seed before the next seed."""
        jobs: dict[str, Job] = {}
        for seed in self.seeds:
            for condition, params in self.conditions.items():
                name = self.experiment.cell_hash(params, seed)
                jobs.setdefault(name, Job(name, condition, params, seed))
        return list(jobs.values())

    def outcomes(self, results: dict[str, Values]) -> dict[str, dict[int, Values]]:
        """Arrange results by condition and seed.

        Args:
            results: hash of a cell → its values.
        """
        name = self.experiment.cell_hash
        return {
            condition: {seed: results[name(params, seed)] for seed in self.seeds}
            for condition, params in self.conditions.items()
        }


def plan(
    experiment: Experiment, *, mode: Mode = "full", seeds: Sequence[int] | None = None
) -> Plan:
    """Return the plan of a call.

    Args:
        experiment: which.
        mode: the frozen conditions, quick ones, or a tuning.
        seeds: instead of those that the experiment has for this mode.

    Raises:
        InvalidOption: no seeds, or claim seeds where nothing may be claimed.
    """
    own_seeds = experiment.seeds
    defaults = {"full": own_seeds.claim, "quick": own_seeds.quick, "tune": own_seeds.tune}[
        mode
    ]
    seeds_used = defaults if seeds is None else tuple(dict.fromkeys(seeds))
    if not seeds_used:
        raise InvalidOption(
            f"experiment {experiment.name} has no seeds to {mode}; name --seeds"
        )
    if mode != "full" and (spoiled := sorted(set(seeds_used) & set(own_seeds.claim))):
        raise InvalidOption(
            f"seeds {', '.join(map(str, spoiled))} of {experiment.name} are kept for its "
            f"claim; a {mode} run takes others, by default {_shown(defaults)}"
        )
    if mode == "quick":
        conditions = experiment.quickly()
    else:
        candidates = experiment.candidates if mode == "tune" else {}
        table = candidates or experiment.conditions
        conditions = {name: plain(params) for name, params in table.items()}
    return Plan(experiment, mode, conditions, seeds_used)


def folder_of(name: str, mode: Mode) -> Path:
    """Return the default folder of an experiment."""
    return Path("runs") / (name if mode == "full" else f"{name}-{mode}")


def read_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds that a text names: ``0:10``, ``100,101`` or both.

    Raises:
        InvalidOption: it names none.
    """
    numbers: list[int] = []
    for part in text.split(","):
        fits = _SEEDS.fullmatch(part.strip())
        if not fits:
            raise InvalidOption(
                f"--seeds {text!r}: {part!r} is no seed; write 0:10 for 0 to 9, or 100,101"
            )
        first, last = int(fits[1]), int(fits[2] or int(fits[1]) + 1)
        if last <= first:
            raise InvalidOption(f"--seeds {text!r}: {part} holds no seed; write FIRST:END")
        numbers += range(first, last)
    return tuple(dict.fromkeys(numbers))


def _shown(seeds: Sequence[int]) -> str:
    """Return seeds as they are typed."""
    if len(seeds) > 2 and tuple(seeds) == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}:{seeds[-1] + 1}"
    return ",".join(map(str, seeds))
