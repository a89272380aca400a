"""Final numbers: what was measured on the test split, which is read once."""

import re

from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.markup import table
from superalign_env.report.section import Section, section
from superalign_env.types import Metric


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
    rows = [
        (
            key.said,
            *(names.interval(line[who]) if who in line else "" for who in columns),
        )
        for key, line in found.items()
    ]
    return section(
        "test",
        "On unseen cases",
        "By the truth, on the test split, which is read once and steers nothing. In "
        "brackets: 95 % intervals.",
        table(("measure", *columns), rows, label="Final numbers on unseen cases"),
    )


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
