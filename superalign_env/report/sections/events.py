"""Gate, alarms and what else happened to the run as a whole."""

from superalign_env.report.document import Document
from superalign_env.report.markup import Child, element, folded, table
from superalign_env.report.names import Names, generation
from superalign_env.report.section import Section, badge, evidence, section
from superalign_env.store import Happened, Stage

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
        "The gate accepts or rolls back from signals alone: it never sees the truth. An alarm "
        "that warns changes nothing by itself, and a silent one proves nothing."
        if gate
        else "",
        *parts,
    )


def _table(document: Document, called: Names, title: str, found: list[Happened]) -> Child:
    stages = {stage.id: stage for stage in document.stages}
    rows = [_row(called, title, h, stages.get(h.stage)) for h in found[:_MOST]]
    heads = ("what", "where", "action", "why", "evidence")
    told = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    return table(
        [heads[place] for place in told],
        [[row[place] for place in told] for row in rows],
        label=title,
        class_="told",
    )


def _row(
    called: Names, title: str, happened: Happened, stage: Stage | None
) -> tuple[Child, ...]:
    kind, said = happened.event.kind, dict(happened.event.evidence)
    action, reason = said.pop("action", None), said.pop("reason", None)
    if title != "Other events":  # their place tells it, and so does their name
        said.pop("generation", None)
        said.pop("accepted", None)
    return (
        badge(kind if title == "Other events" else _word(kind)),
        "" if stage is None else _place(stage),
        None if action is None else badge(str(action)),
        "" if reason is None else str(reason),
        evidence(said, called) if said else None,
    )


def _word(kind: str) -> str:
    return kind.partition(".")[2].replace("-", " ")


def _place(stage: Stage) -> str:
    parts = (generation(stage.generation) if stage.generation else "", stage.name)
    return " · ".join((*filter(None, parts[:1]), f"round {stage.round}", parts[1]))
