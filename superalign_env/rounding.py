"""Number formatting for tables, sentences and charts; no other module formats any.

Ints, floats and numpy scalars are written alike; no zero has a sign, and what is left of a
sum that should be zero (``-4.4e-17``) is zero.
"""

import math

_NOISE = 1e-12
"""Rounding errors of sums near one are smaller than this; nothing measured here is."""


def number(value: float | None, digits: int = 4) -> str:
    """Return a number in as many significant digits as one reads; nothing for None.

    Args:
        value: any real number, also infinite or undefined (``nan``).
        digits: significant ones at most; whole numbers have all of theirs.
    """
    if value is None:
        return ""
    value = _clean(value)
    whole = value.is_integer() and abs(value) < 1e15
    if whole or (digits < 4 and 1000 <= abs(value) < 1e6):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def decimal(value: float, places: int = 2, *, sign: bool = False) -> str:
    """Return a number with so many decimal places: ``0.55``, ``+0.55`` with a sign.

    Args:
        value: any real number, also infinite or undefined (``nan``).
        places: after the point.
        sign: whether a number that is not below zero gets a plus.
    """
    value = _clean(value)
    if math.isfinite(value) and round(value, places) == 0:
        value = 0.0
    return f"{value:{'+' if sign else ''}.{places}f}"


def between(low: float | None, high: float | None) -> str:
    """Return an interval, ``0.25 … 0.75``; nothing where there is none."""
    return "" if low is None or high is None else f"{number(low)} … {number(high)}"


def _clean(value: float) -> float:
    value = float(value)
    return 0.0 if abs(value) < _NOISE else value
