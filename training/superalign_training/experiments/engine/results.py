"""What cells say together: figures with intervals, tables, a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.measures import Estimate, Paired, Ratio, mean

Values = Mapping[str, Any]
"""What a cell returns: plain JSON values."""

Outcomes = Mapping[str, Mapping[int, Values]]
"""Condition → seed → what the cell returned. Every condition has every seed."""

Figure = Estimate | Paired | Ratio | float | int | str | bool | None


class Table(NamedTuple):
    """A table for people; estimates are shown with their intervals."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Figure]]


class Result(NamedTuple):
    """What an experiment came to."""

    figures: Mapping[str, Figure]
    """Exact name → figure, as promised; printed in the last line."""
    tables: Sequence[Table] = ()
    sentence: str = ""
    """What it means, in plain words."""


def column(cells: Mapping[int, Values], *keys: str) -> dict[int, float]:
    """Return one number of every cell of a condition, by seed.

    Args:
        cells: seed → values: ``outcomes["ppo"]``.
        *keys: where the number stands: ``"final"`` or ``"final", "misses"``.

    Raises:
        InvalidOption: a cell has no such number.
    """
    found = {}
    for seed, values in cells.items():
        value: Any = values
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                raise InvalidOption(
                    f"the cell of seed {seed} has no {'.'.join(keys)}; it has "
                    f"{', '.join(map(str, values))}"
                )
            value = value[key]
        found[seed] = float(value)
    return found


def means(outcomes: Outcomes) -> Result:
    """Return the mean over seeds of every number that cells of a condition share."""
    figures: dict[str, Figure] = {}
    for condition, cells in outcomes.items():
        first = next(iter(cells.values()), {})
        for key, value in first.items():
            if isinstance(value, int | float) and all(key in v for v in cells.values()):
                name = f"{condition}_{key}".replace("-", "_").replace(" ", "_")
                figures[name] = mean(list(column(cells, key).values()))
    return Result(figures)


def flat(figures: Mapping[str, Figure], *, digits: int | None = None) -> dict[str, Any]:
    """Return figures as plain numbers: an interval is ``NAME_low`` and ``NAME_high``.

    Args:
        figures: by name.
        digits: after the point; all of them when None.
    """
    found: dict[str, Any] = {}
    for name, figure in figures.items():
        for key, value in _parts(name, figure):
            rounds = digits is not None and isinstance(value, float)
            found[key] = round(value, digits) if rounds else value
    return found


def _parts(name: str, figure: Figure) -> Iterator[tuple[str, Any]]:
    """Yield a figure as (name, plain value)."""
    if isinstance(figure, Estimate):
        yield name, figure.value
        yield f"{name}_low", figure.low
        yield f"{name}_high", figure.high
    elif isinstance(figure, Paired):
        yield from _parts(name, figure.t)
        yield f"{name}_p", figure.p
        yield f"{name}_wins", figure.wins
    elif isinstance(figure, Ratio):
        yield from _parts(name, figure.estimate)
        yield from _parts(f"{name}_numerator", figure.numerator)
        yield from _parts(f"{name}_denominator", figure.denominator)
    else:
        yield name, figure
