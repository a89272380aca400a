"""The head of a page: what the run is, what it came to, what it cost."""

from collections.abc import Mapping
from typing import Any

from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.markup import Markup, element, joined
from superalign_env.report.readings import verdict_of_generations
from superalign_env.report.result import sentence
from superalign_env.report.section import badge, command

Fact = tuple[str, Markup | str]
"""What something is called, and how much of it there is."""


def heading(document: Document) -> Markup:
    """Return title, result and facts of one run."""
    info = document.info
    return element(
        "header",
        element("p", f"superalign · {info.kind}", class_="kicker"),
        element("h1", info.id),
        element("p", sentence(document), class_="result"),
        fact_list("What was run", [*_identity(document), *_asked(document)]),
        fact_list("What came of it", [*_size(document), *_cost(document)]),
        element("p", "Read any episode with ", command("show", document.path, "EPISODE")),
        id="top",
    )


def fact_list(title: str, facts: list[Fact]) -> Markup:
    """Return facts as names and values that flow over the width."""
    return element(
        "dl",
        joined(
            element("div", element("dt", name), element("dd", value))
            for name, value in facts
        ),
        class_="facts",
        aria_label=title,
    )


def total(document: Document, field: str) -> int:
    """Return one cost over all stages."""
    return sum(getattr(cost, field) for cost in document.costs)


def _identity(document: Document) -> list[Fact]:
    info = document.info
    parent: list[Fact] = [("forked from", info.parent)] if info.parent else []
    return [
        *parent,
        ("status", badge(info.status)),
        ("seed", str(info.seed)),
        ("revision", element("code", info.revision[:12] or "unknown")),
    ]


def _asked(document: Document) -> list[Fact]:
    """Return the settings that a reader wants first, as far as the run has them."""
    asked = names.flat(document.info.config)
    chain = document.generations > 0
    return [
        (name, asked[key])
        for name, key, shown in (
            ("scenario", "scenario", True),
            ("generations", "generations", chain),
            ("rounds", "rounds", True),
            ("order", "order", chain),
            ("gap controller", "gap.id", chain),
            ("competence by", "competence.algorithm.id", chain),
            ("conformity by", "conform.algorithm.id", chain),
            ("ladder", "levels", chain),
        )
        if shown and asked.get(key, "None") != "None"
    ] + _by_role(document.info.config)


def _by_role(config: Mapping[str, Any]) -> list[Fact]:
    """Return who held each role, and by which algorithms each one learned."""
    facts: list[Fact] = []
    for name, key in (("lineup", "lineup"), ("trained by", "train")):
        roles = config.get(key)
        known = roles.items() if isinstance(roles, Mapping) else ()
        said = [f"{role}: {_ids(held)}" for role, held in known if held]
        if said:
            facts.append((name, ", ".join(said)))
    return facts


def _ids(held: Any) -> str:
    """Return the ids of what a role has, an agent or algorithms."""
    several = held if isinstance(held, list) else [held]
    return " + ".join(
        str(o.get("id")) if isinstance(o, Mapping) else str(o) for o in several
    )


def _size(document: Document) -> list[Fact]:
    verdicts = verdict_of_generations(document)
    facts: list[Fact] = []
    if verdicts:
        facts.append(("accepted", f"{sum(verdicts.values())} of {len(verdicts)}"))
    if document.found:
        facts.append(("hazards", str(sum(document.found.values()))))
    alarms = [n for kind, n in document.kinds.items() if kind.startswith("alarm.")]
    if alarms or verdicts:
        facts.append(("alarms", str(sum(alarms))))
    facts.append(("stages", str(len(document.stages))))
    return facts


def _cost(document: Document) -> list[Fact]:
    facts: list[Fact] = [
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
