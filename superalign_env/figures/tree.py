"""Lineage of agents as a forest, with the gate's decisions."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from superalign_env.figures.drawing import Described, Tips, label, sheet, svg
from superalign_env.figures.palette import light

_STEP, _ROW = 1.3, 0.58
_BOX = (1.0, 0.42)


class Node(NamedTuple):
    """One agent."""

    id: str
    parent: str
    """Id of the node it came from; empty or unknown for a root."""
    name: str
    note: str = ""
    """Small print: a short hash."""
    state: str = ""
    """``accepted``, ``rolled back`` or neither."""
    tip: str = ""


def draw_forest(nodes: Sequence[Node], described: Described) -> str:
    """Return the nodes as SVG, parents to the left of their children.

    Raises:
        ValueError: there are no nodes.
    """
    if not nodes:
        raise ValueError("a lineage without agents cannot be drawn")
    places = layout(nodes)
    across = 1 + max(column for column, _ in places.values())
    down = 1 + max(row for _, row in places.values())
    with sheet(max(across * _STEP + 0.1, 2.4), down * _ROW + 0.15, fitted=False) as figure:
        axes, tips = figure.add_axes((0.0, 0.0, 1.0, 1.0)), Tips()
        axes.set(xlim=(-0.1, max(across * _STEP, 2.3)), ylim=(down * _ROW, -0.12))
        axes.axis("off")
        for node in nodes:
            if node.parent in places:
                _edge(axes, places[node.parent], places[node.id])
        for node in nodes:
            _box(axes, node, places[node.id], tips)
        return svg(figure, described, tips)


def layout(nodes: Sequence[Node]) -> dict[str, tuple[int, int]]:
    """Return (column, row) by id: a first child stays in its parent's row."""
    children: dict[str, list[str]] = {node.id: [] for node in nodes}
    roots: list[str] = []
    for node in nodes:
        has_parent = node.parent in children and node.parent != node.id
        (children[node.parent] if has_parent else roots).append(node.id)
    places: dict[str, tuple[int, int]] = {}
    row = 0
    for root in roots:
        waiting = [(root, 0)]
        while waiting:
            name, column = waiting.pop()
            if name in places:
                continue
            places[name] = (column, row)
            waiting += [(child, column + 1) for child in reversed(children[name])]
            if not children[name]:
                row += 1
    for node in nodes:  # in a damaged record two agents may be each other's parents
        if node.id not in places:
            places[node.id] = (0, row)
            row += 1
    return places


def _edge(axes: Axes, parent: tuple[int, int], child: tuple[int, int]) -> None:
    left, high = parent[0] * _STEP + _BOX[0], parent[1] * _ROW + _BOX[1] / 2
    right, low = child[0] * _STEP, child[1] * _ROW + _BOX[1] / 2
    middle = (left + right) / 2
    axes.plot(
        [left, middle, middle, right],
        [high, high, low, low],
        color=light("soft"),
        linewidth=1.1,
        zorder=1,
    )


def _box(axes: Axes, node: Node, place: tuple[int, int], tips: Tips) -> None:
    left, top = place[0] * _STEP, place[1] * _ROW
    colour = {"accepted": "good", "rolled back": "warn"}.get(node.state, "soft")
    patch = FancyBboxPatch(
        (left, top),
        *_BOX,
        boxstyle="round,pad=0,rounding_size=0.07",
        facecolor=light("paper"),
        edgecolor=light(colour),
        linewidth=1.6 if node.state else 1.0,
        linestyle="--" if node.state == "rolled back" else "-",
        mutation_aspect=1,
        zorder=2,
    )
    axes.add_patch(patch)
    tips.add(patch, node.tip or node.name)
    mark = {"accepted": " ✓", "rolled back": " ✗"}.get(node.state, "")
    centre = left + _BOX[0] / 2
    for text, height, size, role in (
        (f"{label(node.name, 13)}{mark}", 0.15, 9, "ink"),
        (label(node.note, 12), 0.31, 8, "soft"),
    ):
        axes.text(
            centre,
            top + height,
            text,
            ha="center",
            va="center",
            fontsize=size,
            color=light(role),
            zorder=3,
        )
