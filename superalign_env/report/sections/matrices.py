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
    """Return checkpoints of one role against those of another."""
    parts: list[Markup] = []
    for name, title in MATRICES.items():
        met: dict[tuple[str, str, str], list[Metric]] = {}
        for _, metric in document.metrics:
            if metric.name == name and metric.opponent:
                met.setdefault(_meeting(metric), []).append(metric)
        for (split, row, column), metrics in sorted(met.items()):
            said = f"{title}, {split} split" if split else title
            id = f"league-{len(parts)}"
            cells = cells_of(metrics, turned=name in LEARNERS_FIRST)
            parts += _drawn(cells, called, id, said, (row, column))
    if not parts:
        return None
    return section(
        "league",
        "Who beats whom",
        "Every checkpoint of one role (down) meets every one of the other (across) on the "
        "same cases, oldest first. A cell is the share of cases that the first won, or of "
        "attacks that succeeded: the stronger its colour, the more. What helped against "
        "today's opponents and hurts against former ones shows above the diagonal. A dash: "
        "they never met.",
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
        "about zero is good, one means that a second source adds nothing. Blue: errors go "
        "together; brown: one is right where the other errs.",
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


def _meeting(metric: Metric) -> tuple[str, str, str]:
    """Return the split on which two roles met, and the roles."""
    tags = metric.tags
    roles = (tags.get("role", "attacker"), tags.get("against", "learner"))
    return (tags.get("split", ""), *roles)


def _words(cells: Cells, called: Names, axes: tuple[str, str]) -> str:
    """Return the extremes of a matrix; all numbers are in its table."""
    ordered = sorted(cells.found.items(), key=lambda cell: cell[1].value)
    ends = (("least", ordered[0]), ("most", ordered[-1]))
    said = [
        f"{word} {interval(metric)} for {called(row)} and {called(column)}"
        for word, ((row, column), metric) in ends
    ]
    return f"Down: {axes[0]}. Across: {axes[1]}. {'; '.join(said)}."


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
        Described(id, title, _words(cells, called, axes)),
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
    numbers = table((axes[0], *columns), lines, label=title, class_="figures")
    return [
        element(
            "div",
            element("h3", title),
            picture(drawn, wide=title),
            folded(f"{title}, in numbers", numbers),
            class_="matrix",
        )
    ]
