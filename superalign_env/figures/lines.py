"""Curves over rounds and generations, with their intervals."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from matplotlib.axes import Axes

from superalign_env.figures.drawing import Described, Tips, label, sheet, svg
from superalign_env.figures.palette import light, series

MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES: dict[str, tuple[int, tuple[float, ...]]] = {
    "solid": (0, ()),
    "dashed": (0, (4.0, 2.0)),
    "dotted": (0, (1.2, 1.8)),
}
_WIDTH, _HEIGHT, _LEGEND_LINE = 3.9, 2.5, 0.19
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
    named = [line for line in panel.lines if line.label]
    columns = 2 if all(len(line.label) <= 19 for line in named) else 1
    below = -(-len(named) // columns) * _LEGEND_LINE
    with sheet(_WIDTH, _HEIGHT + below) as figure:
        axes, tips = figure.add_subplot(), Tips()
        for number, line in enumerate(panel.lines):
            aside = (number - (len(panel.lines) - 1) / 2) * _BESIDE
            _draw(axes, line, aside, tips)
        _arrange(axes, panel)
        if named:
            figure.legend(
                loc="outside lower left", ncols=columns, handlelength=2.6, borderpad=0.1
            )
        return svg(figure, described, tips)


def _draw(axes: Axes, line: Line, aside: float, tips: Tips) -> None:
    colour, mark = light(series(line.colour)), MARKS[line.colour % len(MARKS)]
    places = [dot.place + aside for dot in line.dots]
    axes.plot(
        places,
        [dot.value for dot in line.dots],
        color=colour,
        linestyle=_DASHES[line.style],
        marker=mark,
        markersize=5.5,
        markeredgecolor=colour,
        markerfacecolor=light("paper") if line.hollow else colour,
        label=label(line.label, 44) or "_",
    )
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
            label="_",
        )
        tips.add(felt, dot.tip or f"{dot.value:.3g}")


def _arrange(axes: Axes, panel: Panel) -> None:
    axes.set_title(label(panel.title, 52))
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
