"""What an experiment is: conditions, seeds, a cell for each, and what they say together.

One readable file for each experiment holds one `Experiment`; its docstring lists every
setting that was tried and every seed that was spent. `engine.run_experiment` does the
rest: a cell is computed once, kept in the record, and found again by its parameters,
seed and revision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from superalign_env.canonical import content_hash, from_json, to_json
from superalign_env.errors import InvalidOption
from superalign_training.experiments.engine.bench import Bench
from superalign_training.experiments.engine.results import Outcomes, Result, Values, means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Params = Mapping[str, Any]
"""Plain JSON values."""


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Which seeds an experiment may use, and for what.

    Raises:
        InvalidOption: no seeds, negative ones, or claims from seeds that were looked at.
    """

    claim: tuple[int, ...]
    """Frozen before any of them was run. A result from exactly these is a claim."""
    quick: tuple[int, ...] = (0,)
    """Does it run? Never seeds of the claim."""
    tune: tuple[int, ...] = tuple(range(10))
    """Settings are chosen on these."""
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


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One question, asked over conditions and seeds.

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
    cell: Callable[[Params, int, Bench], Values]
    """Pure: (parameters, seed, bench) → plain JSON. The same ones, the same result."""
    reduce: Callable[[Outcomes], Result] = means
    """What all seeds say together; means and intervals come from `superalign_env.measures`."""
    quick: Params = field(default_factory=dict)
    """What ``--quick`` puts in the place of parameters: under a minute, and not a claim."""
    candidates: Mapping[str, Params] = field(default_factory=dict)
    """What ``--tune`` compares on the tuning seeds instead of the conditions."""
    picture: "Callable[[Figure, Outcomes], None] | None" = None
    """Draws into an empty figure; without one, the figures are drawn with their intervals."""

    def __post_init__(self) -> None:
        if not self.conditions:
            raise InvalidOption(f"experiment {self.name} has no conditions")
        for params in (*self.conditions.values(), *self.candidates.values()):
            plain(params)
        known = {key for params in self.conditions.values() for key in params}
        if stray := sorted(set(self.quick) - known):
            raise InvalidOption(
                f"--quick of experiment {self.name} replaces {', '.join(stray)}, which no "
                f"condition has; they have {', '.join(sorted(known))}"
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
