"""Curves over rounds and generations, with their intervals.

A picture bears neither its title nor a legend: beside one another most pictures share
theirs, and a page breaks lines where a drawing would cut them. `draw_sample` draws what a
legend shows beside its words.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from matplotlib.axes import Axes

from superalign_env.figures.drawing import Described, Tips, decoration, label, sheet, svg
from superalign_env.figures.palette import light, series
from superalign_env.rounding import number

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: dict[str, tuple[int, tuple[float, ...]]] = {
    "solid": (0, ()),
    "dashed": (0, (4.0, 2.0)),
    "dotted": (0, (1.2, 1.8)),
}
_WIDTH, _HEIGHT = 3.9, 2.25
_SAMPLE = (0.42, 0.16)
_BESIDE = 0.05
"""How far lines that share a place stand apart, so that intervals can be told apart."""


class Dot(NamedTuple):
    """One number on a curve."""

    place: float
    value: float
    low: float | None = None
    high: float | None = None
    tip: str = ""


class Line(NamedTuple):
    """One curve."""

    label: str
    dots: tuple[Dot, ...]
    colour: int = 0
    """Index of the series: the same colour and mark all over the page."""
    style: Literal["solid", "dashed", "dotted"] = "solid"
    hollow: bool = False
    marks: bool = True
    """Whether every number has a mark and says what it is; long lines are lighter without."""


class Panel(NamedTuple):
    """One small picture with some curves."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    """Places of the horizontal axis and what stands there."""
    across: str
    """What the horizontal axis is."""
    share: bool = True
    """Whether values are shares: all such panels show the range 0 to 1. Others show zero."""


def draw_lines(panel: Panel, described: Described) -> str:
    """Return the panel as SVG."""
    with sheet(_WIDTH, _HEIGHT) as figure:
        axes, tips = figure.add_subplot(), Tips()
        for number, line in enumerate(panel.lines):
            aside = (number - (len(panel.lines) - 1) / 2) * _BESIDE
            _draw(axes, line, aside, tips)
        _arrange(axes, panel)
        return svg(figure, described, tips)


def draw_sample(line: Line) -> str:
    """Return a piece of the line as it is drawn, for a legend; the words stand beside it."""
    look = (series(line.colour), _mark(line.colour), line.style, line.hollow)
    return _sample(look, line.marks)


@lru_cache(maxsize=256)
def _sample(look: tuple[str, str, str, bool], marks: bool) -> str:
    with sheet(*_SAMPLE, fitted=False) as figure:
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.axis("off")
        _stroke(axes, [0.02, 0.98], [0.5, 0.5], look, marks=False)
        if marks:
            _stroke(axes, [0.5], [0.5], look, marks=True)
        for drawn in axes.lines:
            drawn.set_clip_on(False)
        return decoration(figure)


def _mark(colour: int) -> str:
    return MARKS[colour % len(MARKS)]


def _stroke(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[float],
    look: tuple[str, str, str, bool],
    *,
    marks: bool,
) -> None:
    """Draw a line as it looks everywhere: role of the colour, mark, style, hollow."""
    role, mark, style, hollow = look
    axes.plot(
        places,
        values,
        color=light(role),
        linestyle=_DASHES[style],
        marker=mark if marks else "",
        markersize=5.5,
        markeredgecolor=light(role),
        markerfacecolor=light("paper" if hollow else role),
    )


def _draw(axes: Axes, line: Line, aside: float, tips: Tips) -> None:
    colour = light(series(line.colour))
    places = [dot.place + aside for dot in line.dots]
    look = (series(line.colour), _mark(line.colour), line.style, line.hollow)
    _stroke(axes, places, [dot.value for dot in line.dots], look, marks=line.marks)
    if not line.marks:
        return
    for place, dot in zip(places, line.dots, strict=True):
        if dot.low is not None and dot.high is not None:
            axes.vlines(place, dot.low, dot.high, color=colour, linewidth=1.1, alpha=0.75)
        # A mark of its own, as large as a finger and seen by nobody, carries the tip.
        (felt,) = axes.plot(
            [place],
            [dot.value],
            marker="o",
            markersize=13,
            linestyle="none",
            color=colour,
            alpha=0.0,
        )
        tips.add(felt, dot.tip or number(dot.value, 3))


def _arrange(axes: Axes, panel: Panel) -> None:
    axes.set_xlabel(label(panel.across, 52))
    shown = _thinned(panel.ticks)
    axes.set_xticks([place for place, _ in shown], [label(text, 12) for _, text in shown])
    if panel.ticks:
        axes.set_xlim(panel.ticks[0][0] - 0.35, panel.ticks[-1][0] + 0.35)
    axes.tick_params(length=0)
    axes.grid(visible=False, axis="x")
    if panel.share:
        axes.set_ylim(-0.03, 1.03)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    else:
        axes.margins(y=0.12)
        axes.axhline(0, color=light("soft"), linewidth=0.9, zorder=1)


def _thinned(ticks: Sequence[tuple[float, str]], most: int = 9) -> list[tuple[float, str]]:
    """Return as many ticks as can be read."""
    step = -(-len(ticks) // most) if ticks else 1
    return list(ticks[::step])
