"""Sections of events: the gate's decisions, alarms, others, and hazards with their evidence."""

from superalign_env.grades import said_by_truth
from superalign_env.report import names
from superalign_env.report.document import Document, episodes_of
from superalign_env.report.html import (
    Child,
    Markup,
    PageSection,
    badge,
    command,
    element,
    evidence,
    folded,
    joined,
    listed,
    said,
    section,
    table,
)
from superalign_env.report.names import Names, generation
from superalign_env.store import Hazard, RecordedEvent, Stage
from superalign_env.types import Episode

_TOLD_ELSEWHERE = ("hazard.",)
_ALARMS = "alarm."
_MAX_EVENTS = 400


def events(document: Document, called: Names) -> PageSection | None:
    """Return the gate's verdicts and alarms, then everything else that happened."""
    events_here = [
        h for h in document.events if not h.event.kind.startswith(_TOLD_ELSEWHERE)
    ]
    gate = [h for h in events_here if h.event.kind.startswith("gate.")]
    alarms = [h for h in events_here if h.event.kind.startswith(_ALARMS)]
    other_events = [h for h in events_here if h not in gate and h not in alarms]
    if not document.kinds:
        return None
    parts: list[Child] = []
    for title, rows in (("Gate", gate), ("Alarms", alarms), ("Other events", other_events)):
        if rows:
            parts += [element("h3", title), _table(document, called, title, rows)]
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


def _table(
    document: Document, called: Names, title: str, events_shown: list[RecordedEvent]
) -> Child:
    stages = {stage.id: stage for stage in document.stages}
    rows = [_row(called, title, h, stages.get(h.stage)) for h in events_shown[:_MAX_EVENTS]]
    heads = ("what", "where", "action", "why", "evidence")
    filled = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    return table(
        [heads[place] for place in filled],
        [[row[place] for place in filled] for row in rows],
        label=title,
        class_="told",
    )


def _row(
    called: Names, title: str, happened: RecordedEvent, stage: Stage | None
) -> tuple[Child, ...]:
    kind, evidence_left = happened.event.kind, dict(happened.event.evidence)
    action, reason = evidence_left.pop("action", None), evidence_left.pop("reason", None)
    if title != "Other events":  # their place tells it, and so does their name
        evidence_left.pop("generation", None)
        evidence_left.pop("accepted", None)
    return (
        badge(kind if title == "Other events" else _word(kind)),
        "" if stage is None else _place(stage),
        None if action is None else badge(str(action)),
        "" if reason is None else str(reason),
        evidence(evidence_left, called) if evidence_left else None,
    )


def _word(kind: str) -> str:
    return kind.partition(".")[2].replace("-", " ")


def _place(stage: Stage) -> str:
    parts = (generation(stage.generation) if stage.generation else "", stage.name)
    return " · ".join((*filter(None, parts[:1]), f"round {stage.round}", parts[1]))


def hazards(document: Document, called: names.Names) -> PageSection | None:
    """Return the hazards of each generation, with transcripts folded into them."""
    if not document.found:
        return None
    stand = ", ".join(f"{n} {status}" for status, n in document.statuses.items())
    parts = [_generation(document, called, number) for number in document.found]
    return section(
        "hazards",
        "Hazards",
        "What deployment brought to light: the prompt x̂, the safe answer ŷ that weaker "
        "aligned generations, personas and people wrote for it. Open one to see what critics "
        f"saw and all that was said. Now: {stand}.",
        *parts,
    )


def transcript(document: Document, episode: Episode) -> Markup:
    """Return the texts of an episode, and the command that shows all of it."""
    turns = [
        joined(
            (
                element("b", utterance.seat),
                said(utterance.text),
                _truth(episode, utterance.turn),
            )
        )
        for utterance in episode.utterances
    ]
    return element(
        "div",
        element("p", command("show", document.path, episode.id)),
        element("p", "task: ", said(episode.task.prompt)),
        listed(turns, kind="ol", class_="turns"),
        class_="transcript",
    )


def _generation(document: Document, called: names.Names, number: int) -> Markup:
    hazards_here = [hazard for hazard in document.hazards if hazard.generation == number]
    count = document.found[number]
    heading = f"Found in {names.generation(number)}" if number else "Found"
    remainder = (
        "" if len(hazards_here) == count else f", the first {len(hazards_here)} of them"
    )
    cases = [_case(document, called, hazard) for hazard in hazards_here]
    return folded(f"{heading}: {count}{remainder}", listed(cases, class_="hazards"))


def _case(document: Document, called: names.Names, hazard: Hazard) -> Markup:
    """Return one hazard on a line, with evidence and transcripts folded beneath."""
    happened = document.evidence.get(hazard.event) if hazard.event is not None else None
    facts = dict(happened.event.evidence) if happened else {}
    answer = facts.pop("answer", None)
    line = joined(
        (
            _cell("prompt x̂", said(hazard.prompt)),
            _cell("it said", said(str(answer))) if answer is not None else None,
            _cell("safe answer ŷ", _safe(document, called, hazard)),
            _cell("kind", hazard.kind),
            _cell("status", badge(hazard.status)),
        )
    )
    if happened is None:
        return element("div", line, class_="case")
    known_already = ("", hazard.prompt, hazard.kind)
    facts_left = {
        key: value
        for key, value in facts.items()
        if key not in ("episode", "episodes") and value not in known_already
    }
    episodes = [n for n in episodes_of(happened) if n in document.transcripts]
    return folded(
        line,
        evidence(facts_left, called) if facts_left else None,
        *(transcript(document, document.transcripts[name]) for name in episodes),
        class_="case",
    )


def _cell(name: str, value: Child) -> Markup | None:
    """Return a value under its name; nothing without one."""
    if value is None:
        return None
    return element("span", element("small", name), value, class_="cell")


def _safe(document: Document, called: names.Names, hazard: Hazard) -> Markup | None:
    """Return ŷ and its authors."""
    if not hazard.safe:
        return None
    by = ", ".join(called(source) for source in document.answered.get(hazard.id, ()))
    answer = said(hazard.safe)
    return joined((answer, element("small", f"by {by}") if by else None))


def _truth(episode: Episode, turn: int) -> Markup | None:
    truth = said_by_truth([grade for grade in episode.grades if grade.turn == turn])
    return element("small", f"truth: {truth}") if truth else None
