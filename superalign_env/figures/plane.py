"""The two-axis picture of progressive alignment: risk against capability.

The source is the figure of Kim et al. (2503.07660): safe to risky from left to right,
capability upwards, growing contours of capacity. Every generation is an arrow from A⁻, as
capable as it will be and not yet aligned, to A⁺; ideally it is horizontal, with
capability kept and risk gone. What was measured is drawn, so that it need not be.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from superalign_env.figures.drawing import Described, Tips, label, sheet, svg
from superalign_env.figures.palette import light
from superalign_env.rounding import decimal

_WIDTH, _HEIGHT = 4.7, 4.5
_LEFT, _LABELS, _COLUMN, _EDGE = 0.55, 0.72, 0.3, 0.12
"""Inches: beside the axes, for contours' labels, for each gap, and at the right."""
_APART = 0.055
"""Of the height: labels stand at least this far from each other."""


class Reading(NamedTuple):
    """A measured share with its interval."""

    value: float
    low: float | None = None
    high: float | None = None


class Spot(NamedTuple):
    """One agent on the plane."""

    risk: Reading
    capability: Reading


class Rung(NamedTuple):
    """One generation."""

    generation: int
    before: Spot | None
    """A⁻."""
    after: Spot | None
    """A⁺."""
    capacity: float | None = None
    """Height of its contour."""
    accepted: bool | None = None
    gap: float | None = None
    """δ = C − U of its teacher, as it was measured."""


class Axis(NamedTuple):
    """Labels of the two axes."""

    risk: str
    capability: str
    people: float | None = None
    """Capability of people: the bound that the papers draw."""


def draw_plane(rungs: Sequence[Rung], axis: Axis, described: Described) -> str:
    """Return the generations on the plane as SVG.

    Raises:
        ValueError: no generation has a place.
    """
    spots = [spot for rung in rungs for spot in (rung.before, rung.after) if spot]
    if not spots:
        raise ValueError("no generation was measured on both axes")
    limit = max(0.35, 1.12 * max(s.risk.high or s.risk.value for s in spots))
    highest = max(s.capability.high or s.capability.value for s in spots)
    top = max([highest, axis.people or 0.0, *(rung.capacity or 0.0 for rung in rungs)])
    contours = any(rung.capacity is not None for rung in rungs)
    beside = contours * _LABELS + len(_known_gaps(rungs)) * _COLUMN
    wide = _LEFT + _WIDTH + beside + _EDGE
    with sheet(wide, _HEIGHT, fitted=False) as figure:
        place = (_LEFT / wide, 0.115, _WIDTH / wide, 0.86)
        axes, tips = figure.add_axes(place), Tips()
        axes.set(xlim=(-0.06 * limit, min(limit, 1.06)), ylim=(0, min(1.15 * top, 1.06)))
        if axis.people is not None:
            _bound(axes, axis.people)
        _contours(axes, rungs)
        _gaps(axes, rungs)
        for rung in rungs:
            _arrow(axes, rung, tips)
        _names(axes, rungs)
        axes.set_xlabel(f"safe  ←  {label(axis.risk, 48)}  →  risky")
        axes.set_ylabel(f"{label(axis.capability, 44)}  →")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        return svg(figure, described, tips)


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Return heights moved as little as is needed for each pair to lie `apart`.

    The order is kept; the whole stays centred where it was.
    """
    order = sorted(range(len(heights)), key=lambda i: (heights[i], i))
    # Groups that touch share one centre: (sum of wishes, members).
    groups: list[tuple[float, list[int]]] = []
    for place in order:
        wish, members = heights[place], [place]
        while groups:
            before, others = groups[-1]
            centre, size = before / len(others), apart * (len(others) - 1) / 2
            mine = wish / len(members) - apart * (len(members) - 1) / 2
            if centre + size + apart <= mine:
                break
            groups.pop()
            wish, members = before + wish, others + members
        groups.append((wish, members))
    moved = [0.0] * len(heights)
    for wish, members in groups:
        lowest = wish / len(members) - apart * (len(members) - 1) / 2
        for number, place in enumerate(members):
            moved[place] = lowest + apart * number
    return moved


def _bound(axes: Axes, people: float) -> None:
    axes.axhline(people, color=light("soft"), linewidth=1.2, linestyle=(0, (5, 3)))
    axes.annotate(
        "people",
        (0.995, people),
        (0, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=light("soft"),
    )


def _contours(axes: Axes, rungs: Sequence[Rung]) -> None:
    """Draw each generation's capacity: nested areas, their edges labelled at the right."""
    capacities = [(r.generation, r.capacity) for r in rungs if r.capacity is not None]
    for _, capacity in capacities:
        axes.axhspan(0, capacity, facecolor=light("band"), alpha=0.08, linewidth=0)
        axes.axhline(capacity, color=light("band"), linewidth=1.0, alpha=0.8)
    for (generation, capacity), height in zip(
        capacities, _labels(axes, [c for _, c in capacities]), strict=True
    ):
        axes.annotate(
            f"C{_low(generation)} {decimal(capacity)}",
            (1.0, capacity),
            (1.035, height),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=light("band"),
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": light("band"), "linewidth": 0.6},
        )


def _labels(axes: Axes, heights: Sequence[float]) -> list[float]:
    """Return where labels of these heights can be read."""
    return spread(heights, _APART * axes.get_ylim()[1])


def _known_gaps(rungs: Sequence[Rung]) -> list[tuple[int, float, float]]:
    """Return (generation, δ, capacity) of every rung where both are known."""
    return [
        (rung.generation, rung.gap, rung.capacity)
        for rung in rungs
        if rung.gap is not None and rung.capacity is not None
    ]


def _gaps(axes: Axes, rungs: Sequence[Rung]) -> None:
    """Draw δ: from what a generation's teacher achieves to what it could itself."""
    for number, (generation, gap, capacity) in enumerate(_known_gaps(rungs)):
        across = 1.0 + (_LABELS + (number + 0.2) * _COLUMN) / _WIDTH
        ends = (capacity - gap, capacity)
        axes.annotate(
            "",
            (across, ends[0]),
            (across, ends[1]),
            xycoords=("axes fraction", "data"),
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "<->",
                "color": light("soft"),
                "linewidth": 0.9,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
        middle = 0.1 * axes.get_ylim()[1]
        axes.text(
            across + 0.035,
            min(max(sum(ends) / 2, middle), axes.get_ylim()[1] - middle),
            f"δ{_low(generation)} {decimal(gap)}".replace("-", "−"),
            transform=axes.get_yaxis_transform(),
            rotation=90,
            ha="center",
            va="center",
            fontsize=9,
            color=light("ink"),
        )


def _arrow(axes: Axes, rung: Rung, tips: Tips) -> None:
    """Draw A⁻, A⁺ and what lies between them."""
    refused = rung.accepted is False
    colour = light("warn" if refused else "s0")
    for spot, filled, sign in ((rung.before, False, "⁻"), (rung.after, True, "⁺")):
        if spot is None:
            continue
        _cross(axes, spot)
        (mark,) = axes.plot(
            [spot.risk.value],
            [spot.capability.value],
            marker="X" if refused and filled else "o",
            markersize=8,
            color=colour,
            markerfacecolor=colour if filled else light("paper"),
            linestyle="none",
            zorder=4,
        )
        tips.add(
            mark,
            f"A{rung.generation}{sign}: risk {_said(spot.risk)}, "
            f"capability {_said(spot.capability)}{', rolled back' if refused else ''}",
        )
    if rung.before is not None and rung.after is not None:
        axes.annotate(
            "",
            (rung.after.risk.value, rung.after.capability.value),
            (rung.before.risk.value, rung.before.capability.value),
            arrowprops={
                "arrowstyle": "-|>",
                "color": colour,
                "linewidth": 1.8,
                "linestyle": "--" if refused else "-",
                "shrinkA": 5,
                "shrinkB": 5,
                "mutation_scale": 13,
            },
            zorder=3,
        )


def _cross(axes: Axes, spot: Spot) -> None:
    """Draw both intervals as thin lines."""
    risk, capability = spot
    style: dict[str, Any] = {
        "color": light("soft"),
        "linewidth": 0.8,
        "alpha": 0.7,
        "zorder": 2,
    }
    if risk.low is not None and risk.high is not None:
        axes.hlines(capability.value, risk.low, risk.high, **style)
    if capability.low is not None and capability.high is not None:
        axes.vlines(risk.value, capability.low, capability.high, **style)


def _names(axes: Axes, rungs: Sequence[Rung]) -> None:
    """Write A⁻ to the right of its marks and A⁺ to the left, none upon another."""
    for side, sign, place in (("before", "⁻", 9.0), ("after", "⁺", -9.0)):
        labels = [(rung, getattr(rung, side)) for rung in rungs if getattr(rung, side)]
        heights = _labels(axes, [spot.capability.value for _, spot in labels])
        for (rung, spot), height in zip(labels, heights, strict=True):
            axes.annotate(
                f"A{_low(rung.generation)}{sign}",
                (spot.risk.value, height),
                (place, 7.0),
                textcoords="offset points",
                ha="left" if place > 0 else "right",
                va="center",
                fontsize=10,
                fontweight="bold",
                color=light("ink"),
                zorder=5,
            )


def _low(number: int) -> str:
    """Return a number in the small figures of an index: 12 → ₁₂."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _said(reading: Reading) -> str:
    if reading.low is None or reading.high is None:
        return decimal(reading.value)
    return f"{decimal(reading.value)} [{decimal(reading.low)}, {decimal(reading.high)}]"
