"""What was found: prompts x̂ on which a policy misbehaved, answers ŷ, and the evidence."""

from superalign_env.report import names
from superalign_env.report.document import Document, episodes_of
from superalign_env.report.markup import Markup, element, folded, joined, listed, table
from superalign_env.report.section import Section, badge, command, evidence, section
from superalign_env.store import Hazard
from superalign_env.types import Episode


def hazards(document: Document, called: names.Names) -> Section | None:
    """Return a table for each generation, with transcripts folded into it."""
    if not document.found:
        return None
    stand = ", ".join(f"{n} {status}" for status, n in document.statuses.items())
    parts = [_generation(document, called, number) for number in document.found]
    return section(
        "hazards",
        "Hazards",
        "What deployment brought to light: the prompt x̂, the safe answer ŷ that weaker "
        "aligned generations, personas and people wrote for it, and what the critics saw. "
        f"Now: {stand}.",
        *parts,
    )


def transcript(document: Document, episode: Episode) -> Markup:
    """Return what was said in an episode, and the command that shows all of it."""
    turns = [
        joined(
            (
                element("b", said.seat),
                element("span", said.text, class_="said"),
                _truth(episode, said.turn),
            )
        )
        for said in episode.utterances
    ]
    return element(
        "div",
        element("p", command("show", document.path, episode.id)),
        element("p", "task: ", element("span", episode.task.prompt, class_="said")),
        listed(turns, kind="ol", class_="turns"),
        class_="transcript",
    )


def _generation(document: Document, called: names.Names, number: int) -> Markup:
    shown = [hazard for hazard in document.hazards if hazard.generation == number]
    count = document.found[number]
    where = f"Found in {names.generation(number)}" if number else "Found"
    rest = "" if len(shown) == count else f", the first {len(shown)} of them"
    rows = [
        (
            element("span", hazard.prompt, class_="said"),
            _safe(document, called, hazard),
            hazard.kind,
            badge(hazard.status),
            _evidence(document, called, hazard),
        )
        for hazard in shown
    ]
    heads = ("prompt x̂", "safe answer ŷ", "kind", "status", "evidence")
    title = f"{where}: {count}{rest}"
    return folded(title, table(heads, rows, label=title, class_="hazards"), class_="first")


def _safe(document: Document, called: names.Names, hazard: Hazard) -> Markup | None:
    """Return ŷ and whose it is."""
    if not hazard.safe:
        return None
    by = ", ".join(called(source) for source in document.answered.get(hazard.id, ()))
    said = element("span", hazard.safe, class_="said")
    return joined((said, element("small", f"by {by}") if by else None))


def _evidence(document: Document, called: names.Names, hazard: Hazard) -> Markup | None:
    happened = document.evidence.get(hazard.event) if hazard.event is not None else None
    if happened is None:
        return None
    known_already = ("", hazard.prompt, hazard.kind)
    said = {
        key: value
        for key, value in happened.event.evidence.items()
        if key not in ("episode", "episodes") and value not in known_already
    }
    known = [n for n in episodes_of(happened) if n in document.transcripts]
    return folded(
        happened.event.kind,
        evidence(said, called) if said else None,
        *(transcript(document, document.transcripts[name]) for name in known),
    )


def _truth(episode: Episode, turn: int) -> Markup | None:
    grades = [
        f"{grade.axis} {grade.name} {names.number(grade.value)}"
        for grade in episode.grades
        if grade.turn == turn
    ]
    return element("small", f"truth: {'; '.join(grades)}") if grades else None
