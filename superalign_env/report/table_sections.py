"""Sections that are tables: final numbers, stages and their cost, settings, every number."""

import re
from collections.abc import Iterable, Sequence

from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.html import (
    Child,
    Markup,
    PageSection,
    badge,
    element,
    folded,
    section,
    table,
)
from superalign_env.report.layout import GROUPS, HEADLINES
from superalign_env.report.names import Names, conditions, number, tags
from superalign_env.report.overview import duration, grouped, total
from superalign_env.store import StageCost
from superalign_env.types import Metric

_ORDER = {
    name: place
    for place, name in enumerate(
        name for group in GROUPS for chart in group.charts for name in chart.names
    )
}


def finals(document: Document) -> PageSection | None:
    """Return one row for each measure and one column for each measured agent."""
    metrics: dict[names.Key, dict[str, Metric]] = {}
    columns: dict[str, None] = {}
    for _, metric in document.metrics:
        if metric.tags.get("split") == "test":
            who = whom(metric)
            columns[who] = None
            metrics.setdefault(names.key(metric), {})[who] = metric
    if not metrics:
        return None

    def rows(keys: Sequence[names.Key], label: str) -> Markup:
        lines = [
            (
                k.title(document.metric_kinds),
                *(
                    names.interval(metrics[k][who]) if who in metrics[k] else ""
                    for who in columns
                ),
            )
            for k in keys
        ]
        return table(("measure", *columns), lines, label=label, class_="figures")

    first, rest = parted(metrics)
    return section(
        "test",
        "On unseen cases",
        "By the truth; none of it steers anything. In brackets: 95 % intervals. Shares lie "
        f"between 0 and 1. {conditions(m for by_who in metrics.values() for m in by_who.values())}",
        rows(first, "Final numbers on unseen cases"),
        folded(f"{len(rest)} more measures", rows(rest, "More numbers on unseen cases"))
        if rest
        else None,
    )


def parted(keys: Iterable[names.Key]) -> tuple[list[names.Key], list[names.Key]]:
    """Return measures in the order of the charts: headlines, and all others.

    Where nothing is a headline everything is.
    """
    ordered = sorted(keys, key=lambda key: _ORDER.get(key.name, len(_ORDER)))
    first = [key for key in ordered if key.name in HEADLINES]
    return (first, [k for k in ordered if k not in first]) if first else (ordered, [])


def whom(metric: Metric) -> str:
    """Return the name of the measured agent, by the metric's tags."""
    who = metric.tags.get("who", "")
    if re.fullmatch(r"A\d+", who):  # of its level: belongs beside what was made of it
        who = f"{who}+"
    return (
        names.person(who)
        or names.side(metric.tags.get("side", ""))
        or names.short(metric.agent)
    )


_FIELDS = (
    ("episodes", "episodes"),
    ("utterances", "utterances"),
    ("tokens read", "prompt_tokens"),
    ("tokens written", "tokens"),
    ("labels of people", "labels"),
    ("other signals", "statements"),
)


def stages(document: Document) -> PageSection | None:
    """Return every stage with its cost; columns that hold nothing are left out."""
    if not document.stages:
        return None
    by_stage = {cost.stage: cost for cost in document.costs}
    fields = [(name, field) for name, field in _FIELDS if total(document, field)]
    seconds = document.seconds
    has_generations = document.generations > 0
    rows: list[tuple[Child, ...]] = []
    for stage in document.stages:
        cost = by_stage.get(stage.id, StageCost(stage.id))
        rows.append(
            (
                stage.id,
                *([str(stage.generation)] if has_generations else []),
                str(stage.round),
                badge(stage.status),
                *(grouped(getattr(cost, field)) for _, field in fields),
                *([duration(seconds.get(stage.id, 0.0))] if seconds else []),
            )
        )
    summed: tuple[Child, ...] = (
        "all",
        *([""] if has_generations else []),
        "",
        None,
        *(grouped(total(document, field)) for _, field in fields),
        *([duration(sum(seconds.values()))] if seconds else []),
    )
    heads = (
        "stage",
        *(["generation"] if has_generations else []),
        "round",
        "status",
        *(name for name, _ in fields),
        *(["time"] if seconds else []),
    )
    grid = table(heads, [*rows, summed], label="Stages and their cost", class_="numbers")
    return section("stages", "Stages and cost", "", folded(f"{len(rows)} stages", grid))


def settings(document: Document) -> PageSection:
    """Return settings and versions."""
    options = list(names.flat(document.info.config).items())
    versions = [*document.info.versions.items(), ("revision", document.info.revision)]
    return section(
        "settings",
        "Settings and versions",
        "",
        folded("Settings", table(("setting", "value"), options, label="Settings")),
        folded("Versions", table(("made with", "version"), versions, label="Versions")),
    )


_MAX_NUMBERS = 3000


def numbers(document: Document, called: Names) -> PageSection | None:
    """Return all metrics as they were written."""
    if not document.metrics:
        return None
    rows = [
        (
            metric.name,
            number(metric.value),
            "" if metric.low is None else f"{number(metric.low)} … {number(metric.high)}",
            str(metric.n) if metric.n else "",
            called(metric.agent) if metric.agent else "",
            called(metric.opponent) if metric.opponent else "",
            tags(metric),
            stage,
        )
        for stage, metric in document.metrics[:_MAX_NUMBERS]
    ]
    heads = ("metric", "value", "interval", "n", "agent", "against", "tags", "stage")
    count = len(document.metrics)
    remainder = (
        element(
            "p",
            f"The first {_MAX_NUMBERS} of {count}; `superalign show --metrics` prints them all.",
        )
        if count > _MAX_NUMBERS
        else None
    )
    grid = table(heads, rows, label="All metrics", class_="numbers")
    return section(
        "numbers", "All numbers", "", folded(f"{count} metrics", remainder, grid)
    )
