"""Who was trained from whom, and what the gate said of it."""

from superalign_env.figures import Described, Node, draw_forest
from superalign_env.report.document import Document
from superalign_env.report.markup import element, folded, table
from superalign_env.report.names import Names, short
from superalign_env.report.section import Section, badge, picture, section
from superalign_env.store import AgentRow

_MOST = 80
"""Agents that a picture shows."""


def lineage(document: Document, called: Names) -> Section | None:
    """Return the tree of agents and a table of them."""
    if not any(row.parent or row.path for row in document.agents):
        return None
    reasons = _reasons(document)
    shown = document.agents
    if len(shown) > _MOST:
        shown = tuple(row for row in shown if row.role == "learner")[:_MOST]
    generation = {row.hash: row.generation for row in shown if row.side}
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
        for row in sorted(shown, key=_order)
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
    """Learners by generation, then attackers, critics and whoever else there is."""
    roles = ("learner", "attacker", "critic")
    place = roles.index(row.role) if row.role in roles else len(roles)
    return place, row.generation or 0


def _state(row: AgentRow) -> str:
    return {True: "accepted", False: "rolled back", None: ""}[row.accepted]


def _reasons(document: Document) -> dict[str, str]:
    """Return agent → why the gate said what it said, where it said why."""
    generation = {stage.id: stage.generation for stage in document.stages}
    said: dict[int, str] = {}
    for happened in document.events:
        reason = happened.event.evidence.get("reason")
        if happened.event.kind.startswith("gate.") and isinstance(reason, str):
            said[generation.get(happened.stage, 0)] = reason
    return {
        row.hash: said[row.generation]
        for row in document.agents
        if row.accepted is not None and row.generation in said
    }
