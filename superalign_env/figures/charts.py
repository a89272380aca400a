"""Curves with intervals, and matrices as heat maps with their numbers written in.

A picture of curves bears neither its title nor a legend: beside one another most pictures
share theirs, and a page breaks lines where a drawing would cut them. `draw_sample` draws what
a legend shows beside its words.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from superalign_env.figures.drawing import Described, Tips, decoration, label, sheet, svg
from superalign_env.figures.palette import light, ramp, series
from superalign_env.rounding import decimal, number

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
    """One value on a curve, with its interval."""

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
        for line in axes.lines:
            line.set_clip_on(False)
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
    ticks = _thinned(panel.ticks)
    axes.set_xticks([place for place, _ in ticks], [label(text, 12) for _, text in ticks])
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


_CELL_WIDTH, _CELL_HEIGHT = 0.56, 0.38
_WRITTEN = 24
"""Beyond this many rows or columns numbers would not be read."""


class Grid(NamedTuple):
    """A matrix; what was not measured is None."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    down: str
    """What the rows are."""
    across: str
    opposed: bool = False
    """Whether values lie in [−1, 1] with zero in the middle, instead of in [0, 1]."""


def draw_grid(grid: Grid, described: Described) -> str:
    """Return the matrix as SVG; unmeasured cells bear a dash.

    Raises:
        ValueError: a matrix without rows or columns.
    """
    if not grid.rows or not grid.columns:
        raise ValueError("a matrix without rows or columns cannot be drawn")
    names = max(len(label(name, 16)) for name in grid.rows)
    width = 0.75 + 0.075 * names + _CELL_WIDTH * len(grid.columns)
    height = 0.75 + _CELL_HEIGHT * len(grid.rows)
    with sheet(max(width, 2.6), height) as figure:
        axes, tips = figure.add_subplot(), Tips()
        for row, values in enumerate(grid.values):
            for column, value in enumerate(values):
                if value is None:
                    _nothing(axes, (row, column))
                else:
                    _cell(axes, grid, (row, column), value, tips)
        _arrange_grid(axes, grid)
        return svg(figure, described, tips)


def _cell(axes: Axes, grid: Grid, place: tuple[int, int], value: float, tips: Tips) -> None:
    row, column = place
    step = ramp((value + 1) / 2 if grid.opposed else value)
    patch = Rectangle(
        (column - 0.5, row - 0.5),
        1,
        1,
        facecolor=light(f"{'o' if grid.opposed else 'r'}{step}"),
        edgecolor=light("paper"),
    )
    axes.add_patch(patch)
    tips.add(patch, f"{grid.rows[row]}, {grid.columns[column]}: {decimal(value, 3)}")
    if max(len(grid.rows), len(grid.columns)) <= _WRITTEN:
        strong = step in (0, 1, 7, 8) if grid.opposed else step >= 5
        colour = light("paper" if strong else "ink")
        axes.text(
            column, row, _short(value), ha="center", va="center", color=colour, fontsize=9
        )


def _nothing(axes: Axes, place: tuple[int, int]) -> None:
    row, column = place
    axes.text(column, row, "–", ha="center", va="center", color=light("soft"), fontsize=9)


def _arrange_grid(axes: Axes, grid: Grid) -> None:
    rows, columns = len(grid.rows), len(grid.columns)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    across = [label(name, 16) for name in grid.columns]
    turned: dict[str, Any] = {"rotation": 40, "ha": "left", "rotation_mode": "anchor"}
    axes.set_xticks(range(columns), across, **(turned if max(map(len, across)) > 6 else {}))
    axes.set_yticks(range(rows), [label(name, 16) for name in grid.rows])
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.set(xlabel=label(grid.across), ylabel=label(grid.down))
    axes.xaxis.set_label_position("top")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _short(value: float) -> str:
    """Return two digits without a leading zero: ``.25``, ``−.10``, ``1``."""
    text = decimal(value).replace("0.", ".", 1).replace("-", "−")
    return {"1.00": "1", "−1.00": "−1", ".00": "0"}.get(text, text)
