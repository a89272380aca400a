"""Matrices as heat maps with their numbers written in."""

from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from superalign_env.figures.drawing import Described, Tips, label, sheet, svg
from superalign_env.figures.palette import light, ramp
from superalign_env.rounding import decimal

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
        _arrange(axes, grid)
        return svg(figure, described, tips)


def _cell(axes: Axes, grid: Grid, place: tuple[int, int], value: float, tips: Tips) -> None:
    row, column = place
    step = ramp((value + 1) / 2 if grid.opposed else value)
    drawn = Rectangle(
        (column - 0.5, row - 0.5),
        1,
        1,
        facecolor=light(f"{'o' if grid.opposed else 'r'}{step}"),
        edgecolor=light("paper"),
    )
    axes.add_patch(drawn)
    tips.add(drawn, f"{grid.rows[row]}, {grid.columns[column]}: {decimal(value, 3)}")
    if max(len(grid.rows), len(grid.columns)) <= _WRITTEN:
        strong = step in (0, 1, 7, 8) if grid.opposed else step >= 5
        colour = light("paper" if strong else "ink")
        axes.text(
            column, row, _short(value), ha="center", va="center", color=colour, fontsize=9
        )


def _nothing(axes: Axes, place: tuple[int, int]) -> None:
    row, column = place
    axes.text(column, row, "–", ha="center", va="center", color=light("soft"), fontsize=9)


def _arrange(axes: Axes, grid: Grid) -> None:
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
    """Return two digits, without a zero that everybody knows: ``.25``, ``−.10``, ``1``."""
    text = decimal(value).replace("0.", ".", 1).replace("-", "−")
    return {"1.00": "1", "−1.00": "−1", ".00": "0"}.get(text, text)
