"""Gate, alarms and what else happened to the run as a whole."""

from superalign_env.report.document import Document
from superalign_env.report.markup import Child, element, folded, table
from superalign_env.report.names import Names
from superalign_env.report.section import Section, badge, evidence, section
from superalign_env.store import Happened

_TOLD_ELSEWHERE = ("hazard.",)
_ALARMS = "alarm."
_MOST = 400


def events(document: Document, called: Names) -> Section | None:
    """Return the gate's verdicts and alarms, then everything else that happened."""
    told = [h for h in document.events if not h.event.kind.startswith(_TOLD_ELSEWHERE)]
    gate = [h for h in told if h.event.kind.startswith("gate.")]
    alarms = [h for h in told if h.event.kind.startswith(_ALARMS)]
    rest = [h for h in told if h not in gate and h not in alarms]
    if not document.kinds:
        return None
    parts: list[Child] = []
    for title, found in (("Gate", gate), ("Alarms", alarms), ("Other events", rest)):
        if found:
            parts += [element("h3", title), _table(document, called, title, found)]
    if document.generations and not alarms:
        parts.append(element("p", "No alarm went off."))
    counted = [(kind, str(n)) for kind, n in document.kinds.items()]
    parts.append(
        folded("All events, counted", table(("event", "how many"), counted, label="Events"))
    )
    return section(
        "events",
        "Gate, alarms, events",
        "The gate accepts or rolls back from signals alone: it never sees the truth."
        if gate
        else "",
        *parts,
    )


def _table(document: Document, called: Names, title: str, found: list[Happened]) -> Child:
    stages = {stage.id: stage for stage in document.stages}
    rows = []
    for happened in found[:_MOST]:
        kind, said = happened.event.kind, dict(happened.event.evidence)
        known = stages.get(happened.stage)
        where = (
            "" if known is None else f"{known.generation} · {known.round} · {known.name}"
        )
        action = said.pop("action", None)
        reason = said.pop("reason", None)
        word = kind.partition(".")[2].replace("-", " ") if title == "Gate" else kind
        rows.append(
            (
                badge(word),
                where,
                badge(str(action)) if action is not None else None,
                "" if reason is None else str(reason),
                evidence(said, called) if said else None,
            )
        )
    heads = ("what", "generation · round · stage", "action", "why", "evidence")
    return table(heads, rows, label=title)
