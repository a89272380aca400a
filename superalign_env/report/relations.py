"""Relations of agents: win rates, error correlations, lineage."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from superalign_env.figures import Described, Grid, Node, draw_forest, draw_grid
from superalign_env.report.document import Document
from superalign_env.report.html import (
    Markup,
    PageSection,
    badge,
    element,
    folded,
    picture,
    section,
    table,
)
from superalign_env.report.names import Names, generation, interval, short
from superalign_env.store import AgentRow
from superalign_env.types import Metric, MetricKind


class Crosstab(NamedTuple):
    """The newest metric of each pair."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    found: dict[tuple[str, str], Metric]


def league(document: Document, called: Names) -> PageSection | None:
    """Return checkpoints of one role against those of another."""
    parts: list[Markup] = []
    role = {row.hash: row.role for row in document.agents}
    for kind in _declared(document, "matrix"):
        met: dict[tuple[str, str, str], list[Metric]] = {}
        for _, metric in document.metrics:
            if metric.name == kind.name and metric.opponent:
                met.setdefault(_meeting(metric, role), []).append(metric)
        for (split, row, column), metrics in sorted(met.items()):
            title = f"{kind.title}, {split} split" if split else kind.title
            id = f"league-{len(parts)}"
            parts += _drawn(crosstab(metrics), called, id, title, (row, column))
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


def sources(document: Document, called: Names) -> PageSection | None:
    """Return the agreement of sources, generation by generation."""
    parts: list[Markup] = []
    for kind in _declared(document, "symmetric"):
        metrics = [m for _, m in document.metrics if m.name == kind.name and m.opponent]
        for step in sorted({m.step for m in metrics}):
            cells = crosstab((m for m in metrics if m.step == step), both_ways=True)
            suffix = f", {generation(step)}" if step else ""
            id = f"sources-{len(parts)}"
            parts += _drawn(
                cells, called, id, f"{kind.title}{suffix}", ("source", "source")
            )
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


def crosstab(metrics: Iterable[Metric], *, both_ways: bool = False) -> Crosstab:
    """Return a matrix in the order in which its members were met.

    Args:
        metrics: with agent and opponent; later ones replace earlier ones.
        both_ways: whether (a, b) is (b, a) too.
    """
    newest: dict[tuple[str, str], Metric] = {}
    rows: dict[str, None] = {}
    columns: dict[str, None] = {}
    for metric in metrics:
        pair = _pair(metric)
        rows[pair[0]] = columns[pair[1]] = None
        newest[pair] = metric
        if both_ways:
            rows[pair[1]] = columns[pair[0]] = None
            newest.setdefault(pair[::-1], metric)
    if both_ways:
        columns = rows
    return Crosstab(tuple(rows), tuple(columns), newest)


def _pair(metric: Metric) -> tuple[str, str]:
    agent = metric.agent or metric.tags.get("a", "")
    return agent, metric.opponent or metric.tags.get("b", "")


def _declared(document: Document, chart: str) -> list[MetricKind]:
    """Return the declarations of metrics that are drawn so, in order of their first value."""
    return [kind for kind in document.metric_kinds.values() if kind.chart == chart]


def _meeting(metric: Metric, role: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the split on which two roles met, and the roles."""
    tags = metric.tags
    return (
        tags.get("split", ""),
        tags.get("role") or role.get(metric.agent) or "agent",
        tags.get("against") or role.get(metric.opponent) or "opponent",
    )


def _words(cells: Crosstab, called: Names, axes: tuple[str, str]) -> str:
    """Return the extremes of a matrix; all numbers are in its table."""
    ordered = sorted(cells.found.items(), key=lambda cell: cell[1].value)
    ends = (("least", ordered[0]), ("most", ordered[-1]))
    extremes = [
        f"{word} {interval(metric)} for {called(row)} and {called(column)}"
        for word, ((row, column), metric) in ends
    ]
    return f"Down: {axes[0]}. Across: {axes[1]}. {'; '.join(extremes)}."


def _drawn(
    cells: Crosstab, called: Names, id: str, title: str, axes: tuple[str, str]
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
    image = draw_grid(
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
            picture(image, wide=title),
            folded(f"{title}, in numbers", numbers),
            class_="matrix",
        )
    ]


_MAX_AGENTS = 80
"""Agents that a picture shows."""


def lineage(document: Document, called: Names) -> PageSection | None:
    """Return the tree of agents and a table of them."""
    if not any(row.parent or row.path for row in document.agents):
        return None
    reasons = _reasons(document)
    agents_shown = document.agents
    if len(agents_shown) > _MAX_AGENTS:
        agents_shown = tuple(row for row in agents_shown if row.role == "learner")[
            :_MAX_AGENTS
        ]
    generation = {row.hash: row.generation for row in agents_shown if row.side}
    nodes = [
        Node(
            row.hash,
            # Every generation begins with a fresh policy, and in a row of its own.
            row.parent if generation.get(row.parent) == generation.get(row.hash) else "",
            called(row.hash),
            short(row.spec.policy),
            _state(row),
            f"{called(row.hash)}: {row.spec.id} {row.hash} {reasons.get(row.hash, '')}",
        )
        for row in sorted(agents_shown, key=_order)
    ]
    described = Described(
        "lineage", "Lineage", f"{len(nodes)} agents; the table below names every parent."
    )
    rows = [
        (
            called(row.hash),
            called(row.parent) if row.parent else "",
            row.spec.id,
            element("code", row.hash),
            element("code", row.spec.policy) if row.spec.policy else None,
            row.path,
            badge(_state(row)) if _state(row) else None,
            reasons.get(row.hash, ""),
        )
        for row in document.agents
    ]
    heads = ("agent", "from", "id", "hash", "weights", "checkpoint", "gate", "reason")
    return section(
        "lineage",
        "Lineage",
        "Who was trained from whom: parents to the left, one row for each generation, small "
        "print for the hash of the weights. A generation that the gate accepted is drawn in "
        "green with a tick; one that was rolled back is dashed and crossed.",
        picture(draw_forest(nodes, described), wide="Lineage"),
        folded("Hashes and reasons", table(heads, rows, label="Agents and their parents")),
    )


def _order(row: AgentRow) -> tuple[int, int]:
    """Return the sort key: learners by generation, then attackers, critics, others."""
    roles = ("learner", "attacker", "critic")
    place = roles.index(row.role) if row.role in roles else len(roles)
    return place, row.generation or 0


def _state(row: AgentRow) -> str:
    return {True: "accepted", False: "rolled back", None: ""}[row.accepted]


def _reasons(document: Document) -> dict[str, str]:
    """Return agent → reason of the gate's decision, where it gave one."""
    generation = {stage.id: stage.generation for stage in document.stages}
    reasons: dict[int, str] = {}
    for happened in document.events:
        reason = happened.event.evidence.get("reason")
        if happened.event.kind.startswith("gate.") and isinstance(reason, str):
            reasons[generation.get(happened.stage, 0)] = reason
    return {
        row.hash: reasons[row.generation]
        for row in document.agents
        if row.accepted is not None and row.generation in reasons
    }
