"""Who beats whom, and whose errors go together."""

from collections.abc import Iterable
from typing import NamedTuple

from superalign_env.figures import Described, Grid, draw_grid
from superalign_env.report.charts import LEARNERS_FIRST, MATRICES, SOURCES
from superalign_env.report.document import Document
from superalign_env.report.markup import Markup, element, folded, table
from superalign_env.report.names import Names, generation, interval
from superalign_env.report.section import Section, picture, section
from superalign_env.types import Metric


class Cells(NamedTuple):
    """The newest metric of each pair."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    found: dict[tuple[str, str], Metric]


def league(document: Document, called: Names) -> Section | None:
    """Return attackers against learners."""
    parts: list[Markup] = []
    for name, title in MATRICES.items():
        for split in _splits(document, name):
            metrics = [
                m
                for _, m in document.metrics
                if m.name == name and m.opponent and m.tags.get("split", "") == split
            ]
            said = f"{title}, {split} split" if split else title
            id = f"league-{len(parts)}"
            cells = cells_of(metrics, turned=name in LEARNERS_FIRST)
            parts += _drawn(cells, called, id, said, ("attacker", "learner"))
    if not parts:
        return None
    return section(
        "league",
        "Attackers against learners",
        "Every attacker meets every learner on the same cases, oldest first. What helped "
        "against today's attackers and hurts against former ones shows below the diagonal.",
        *parts,
    )


def sources(document: Document, called: Names) -> Section | None:
    """Return how sources agree, generation by generation."""
    parts: list[Markup] = []
    for name, title in SOURCES.items():
        found = [m for _, m in document.metrics if m.name == name and m.opponent]
        for step in sorted({m.step for m in found}):
            cells = cells_of((m for m in found if m.step == step), both_ways=True)
            when = f", {generation(step)}" if step else ""
            id = f"sources-{len(parts)}"
            parts += _drawn(cells, called, id, f"{title}{when}", ("source", "source"))
    if not parts:
        return None
    return section(
        "sources",
        "Sources of signals",
        "Several sources are worth more than one only where their errors are their own: "
        "about zero is good, one means that a second source adds nothing.",
        element("div", *parts, class_="panels"),
    )


def cells_of(
    metrics: Iterable[Metric], *, both_ways: bool = False, turned: bool = False
) -> Cells:
    """Return a matrix in the order in which its members were met.

    Args:
        metrics: with agent and opponent; later ones replace earlier ones.
        both_ways: whether (a, b) is (b, a) too.
        turned: whether agents are columns.
    """
    found: dict[tuple[str, str], Metric] = {}
    rows: dict[str, None] = {}
    columns: dict[str, None] = {}
    for metric in metrics:
        pair = _pair(metric)[::-1] if turned else _pair(metric)
        rows[pair[0]] = columns[pair[1]] = None
        found[pair] = metric
        if both_ways:
            rows[pair[1]] = columns[pair[0]] = None
            found.setdefault(pair[::-1], metric)
    if both_ways:
        columns = rows
    return Cells(tuple(rows), tuple(columns), found)


def _pair(metric: Metric) -> tuple[str, str]:
    agent = metric.agent or metric.tags.get("a", "")
    return agent, metric.opponent or metric.tags.get("b", "")


def _splits(document: Document, name: str) -> list[str]:
    return sorted({m.tags.get("split", "") for _, m in document.metrics if m.name == name})


def _drawn(
    cells: Cells, called: Names, id: str, title: str, axes: tuple[str, str]
) -> list[Markup]:
    """Return a picture and its table; nothing for less than two by one."""
    if len(cells.rows) * len(cells.columns) < 2:
        return []
    values = tuple(
        tuple(
            cells.found[row, column].value if (row, column) in cells.found else None
            for column in cells.columns
        )
        for row in cells.rows
    )
    below = any(value is not None and value < 0 for line in values for value in line)
    rows = tuple(called(row) for row in cells.rows)
    columns = tuple(called(column) for column in cells.columns)
    opposed = below or axes[0] == axes[1]
    drawn = draw_grid(
        Grid(rows, columns, values, *axes, opposed=opposed),
        Described(id, title, "The numbers are in the table below."),
    )
    lines = [
        (
            called(row),
            *(
                interval(cells.found[row, column]) if (row, column) in cells.found else ""
                for column in cells.columns
            ),
        )
        for row in cells.rows
    ]
    numbers = table((axes[0], *columns), lines, label=title)
    return [
        element(
            "div",
            element("h3", title),
            picture(drawn, wide=True),
            folded("The numbers", numbers),
        )
    ]
