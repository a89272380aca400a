"""The matrix as a heat map."""

import io
from typing import Any

import numpy as np

from superalign_training.league.matrix import Matrix


def heat_map(matrix: Matrix, *, title: str = "share of cases won") -> str:
    """Return an SVG with one role as rows and the other as columns, oldest first.

    The same matrix gives the same bytes. Unplayed cells stay empty.

    Raises:
        ValueError: a matrix without rows or columns.
    """
    # Matplotlib takes half a second to import: paid by those who draw.
    import matplotlib as mpl  # noqa: PLC0415 - slow
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow

    rows, columns = len(matrix.agents), len(matrix.opponents)
    if not rows or not columns:
        raise ValueError("a matrix without rows or columns cannot be drawn")
    values = np.array(
        [
            [_number(matrix.value(agent, opponent)) for opponent in matrix.opponents]
            for agent in matrix.agents
        ]
    )
    with mpl.rc_context({"svg.hashsalt": "league", "svg.fonttype": "none"}):
        figure = Figure(
            figsize=(1.8 + 0.5 * columns, 1.4 + 0.4 * rows), layout="constrained"
        )
        axes = figure.add_subplot()
        axes.imshow(values, vmin=0.0, vmax=1.0, cmap="cividis", aspect="auto")
        axes.set(xlabel=matrix.pairing.against, ylabel=matrix.pairing.role, title=title)
        axes.set_xticks(range(columns))
        axes.set_yticks(range(rows))
        _write(axes, values)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def _write(axes: Any, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    """Write each value into its cell; colour alone is not read by everybody."""
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "black" if value > 0.6 else "white"
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", color=colour, size=7
            )


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
