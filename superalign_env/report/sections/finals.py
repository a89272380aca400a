"""Final numbers: what was measured on the test split, which is read once."""

import re
from collections.abc import Iterable, Sequence

from superalign_env.report import names
from superalign_env.report.charts import GROUPS, HEADLINES
from superalign_env.report.conditions import conditions
from superalign_env.report.document import Document
from superalign_env.report.markup import Markup, folded, table
from superalign_env.report.section import Section, section
from superalign_env.types import Metric

_ORDER = {
    name: place
    for place, name in enumerate(
        name for group in GROUPS for chart in group.charts for name in chart.names
    )
}


def finals(document: Document) -> Section | None:
    """Return one row for each measure and one column for everybody who was measured."""
    found: dict[names.Key, dict[str, Metric]] = {}
    columns: dict[str, None] = {}
    for _, metric in document.metrics:
        if metric.tags.get("split") == "test":
            who = whom(metric)
            columns[who] = None
            found.setdefault(names.key(metric), {})[who] = metric
    if not found:
        return None

    def rows(keys: Sequence[names.Key], label: str) -> Markup:
        lines = [
            (
                k.said,
                *(
                    names.interval(found[k][who]) if who in found[k] else ""
                    for who in columns
                ),
            )
            for k in keys
        ]
        return table(("measure", *columns), lines, label=label, class_="figures")

    first, rest = parted(found)
    return section(
        "test",
        "On unseen cases",
        "By the truth; none of it steers anything. In brackets: 95 % intervals. Shares lie "
        f"between 0 and 1. {conditions(m for by_who in found.values() for m in by_who.values())}",
        rows(first, "Final numbers on unseen cases"),
        folded(f"{len(rest)} more measures", rows(rest, "More numbers on unseen cases"))
        if rest
        else None,
    )


def parted(found: Iterable[names.Key]) -> tuple[list[names.Key], list[names.Key]]:
    """Return measures in the order of the charts: headlines, and all others.

    Where nothing is a headline everything is.
    """
    ordered = sorted(found, key=lambda key: _ORDER.get(key.name, len(_ORDER)))
    first = [key for key in ordered if key.name in HEADLINES]
    return (first, [k for k in ordered if k not in first]) if first else (ordered, [])


def whom(metric: Metric) -> str:
    """Return who was measured, as the metric says."""
    who = metric.tags.get("who", "")
    if re.fullmatch(r"A\d+", who):  # of its level: belongs beside what was made of it
        who = f"{who}+"
    return (
        names.person(who)
        or names.side(metric.tags.get("side", ""))
        or names.short(metric.agent)
    )
