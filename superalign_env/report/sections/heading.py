"""The head of a page: what the run is, what it came to, what it cost."""

from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.markup import Markup, element, joined
from superalign_env.report.result import sentence
from superalign_env.report.section import badge, command


def heading(document: Document) -> Markup:
    """Return title, result and facts of one run."""
    info = document.info
    facts: list[tuple[str, Markup | str]] = [
        ("status", badge(info.status)),
        ("seed", str(info.seed)),
        ("revision", element("code", info.revision[:12] or "unknown")),
        ("stages", str(len(document.stages))),
        *_size(document),
        *_cost(document),
    ]
    if info.parent:
        facts.insert(0, ("forked from", info.parent))
    return element(
        "header",
        element("p", f"superalign · {info.kind}", class_="kicker"),
        element("h1", info.id),
        element("p", sentence(document), class_="result"),
        fact_list(facts),
        element("p", "Read any episode with ", command("show", document.path, "EPISODE")),
    )


def fact_list(facts: list[tuple[str, Markup | str]]) -> Markup:
    """Return facts as names and values that flow over the width."""
    return element(
        "dl",
        joined(
            element("div", element("dt", name), element("dd", value))
            for name, value in facts
        ),
        class_="facts",
    )


def total(document: Document, field: str) -> int:
    """Return one cost over all stages."""
    return sum(getattr(cost, field) for cost in document.costs)


def _size(document: Document) -> list[tuple[str, Markup | str]]:
    scenario = document.info.config.get("scenario")
    facts: list[tuple[str, Markup | str]] = []
    if isinstance(scenario, str):
        facts.append(("scenario", scenario))
    if document.generations:
        facts.append(("generations", str(document.generations)))
    if document.found:
        facts.append(("hazards", str(sum(document.found.values()))))
    return facts


def _cost(document: Document) -> list[tuple[str, Markup | str]]:
    facts: list[tuple[str, Markup | str]] = [
        (name, grouped(total(document, field)))
        for name, field in (
            ("episodes", "episodes"),
            ("utterances", "utterances"),
            ("tokens read", "prompt_tokens"),
            ("tokens written", "tokens"),
        )
        if total(document, field)
    ]
    asked = document.budget
    if asked.asked:
        facts.append(("people answered", f"{asked.answered} of {asked.asked}"))
    if document.seconds:
        facts.append(("time", duration(sum(document.seconds.values()))))
    return facts


def duration(seconds: float) -> str:
    """Return a time as one reads it: ``4.2 s``, ``3 min 12 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{names.number(round(seconds, 1))} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def grouped(count: int) -> str:
    """Return a count with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u2009")
