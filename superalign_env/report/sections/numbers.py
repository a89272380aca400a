"""Every number of the record in one table."""

from superalign_env.report.document import Document
from superalign_env.report.markup import element, folded, table
from superalign_env.report.names import Names, number, tags
from superalign_env.report.section import Section, section

_MOST = 3000


def numbers(document: Document, called: Names) -> Section | None:
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
        for stage, metric in document.metrics[:_MOST]
    ]
    heads = ("metric", "value", "interval", "n", "agent", "against", "tags", "stage")
    count = len(document.metrics)
    more = (
        element(
            "p",
            f"The first {_MOST} of {count}; `superalign show --metrics` prints them all.",
        )
        if count > _MOST
        else None
    )
    shown = table(heads, rows, label="All metrics", class_="numbers")
    return section("numbers", "All numbers", "", folded(f"{count} metrics", more, shown))
