"""Many comparisons at once, without many chances to be wrong."""

from collections.abc import Mapping
from typing import TypeVar

Name = TypeVar("Name", str, int, tuple[str, ...])


def holm_adjusted(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Return p-values adjusted for their number (Holm 1979, step-down).

    Those at or below α are rejected with a family-wise error of at most α, whatever the
    comparisons have to do with each other.

    Args:
        p_values: comparison → p-value.

    Returns:
        The same comparisons, in the same order.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    for name, p in p_values.items():
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"the p-value of {name!r} is {p}, not in [0, 1]")
    adjusted: dict[Name, float] = {}
    floor = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        # A larger p-value never ends up with a smaller adjusted one.
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p_values}
