"""Curves over generations and rounds, each with its numbers."""

from collections.abc import Iterator

from superalign_env.report import names
from superalign_env.report.charts import GROUPS, Chart, Group
from superalign_env.report.conditions import conditions
from superalign_env.report.curves import (
    MOST,
    Axis,
    Curve,
    apart_of,
    axis,
    curves,
    leftover,
    panels,
    places_of,
    title_of,
)
from superalign_env.report.document import Document
from superalign_env.report.markup import Markup, element, folded, table
from superalign_env.report.multiples import multiples
from superalign_env.report.section import Section, section


def progress(document: Document, called: names.Names) -> Iterator[Section]:
    """Yield one section for each group of charts that has anything to show."""
    for group in GROUPS:
        made = _group(document, group, called)
        if made is not None:
            yield made


def others(document: Document, called: names.Names) -> Section | None:
    """Return the curves of metrics that no chart names, folded away."""
    made = [_group(document, group, called) for group in leftover(document)]
    bodies = [section.body for section in made if section is not None]
    return (
        Section("others", "Other numbers", folded("Show them", *bodies)) if bodies else None
    )


def _group(document: Document, group: Group, called: names.Names) -> Section | None:
    placed = axis(document, group)
    found = [(chart, curves(document, chart, placed, called)) for chart in group.charts]
    found = [(chart, drawn) for chart, drawn in found if drawn]
    if not found:
        return None
    charts: list[Markup] = []
    left = MOST
    for number, (chart, drawn) in enumerate(found):
        shown = panels(chart, drawn, placed)[:left]
        left -= len(shown)
        if shown:
            id = f"{group.id}-{number}"
            said = conditions(metric for curve in drawn for _, metric in curve.points)
            text = " ".join(filter(None, (chart.text, said)))
            charts.append(multiples(title_of(chart, drawn), text, shown, id))
    return section(
        group.id,
        group.title,
        group.text,
        element("div", *charts, class_="charts"),
        folded(
            f"{group.title} in numbers",
            _numbers(found, placed, f"{group.title} in numbers"),
        ),
    )


def _numbers(found: list[tuple[Chart, list[Curve]]], placed: Axis, label: str) -> Markup:
    places = places_of(curve for _, drawn in found for curve in drawn)
    ticks = dict(placed.ticks)
    heads = [
        "measure",
        *(f"{placed.across} {ticks.get(p, names.number(p))}" for p in places),
    ]
    rows = [
        (
            _called(chart, curve),
            *(
                names.interval(known[place]) if place in known else ""
                for known in (dict(curve.points),)
                for place in places
            ),
        )
        for chart, drawn in found
        for curve in drawn
    ]
    return table(heads, rows, label=label, class_="figures")


def _called(chart: Chart, curve: Curve) -> str:
    named = (
        curve.label
        if len(chart.names) > 1
        else ": ".join(part for part in (chart.title, curve.kind) if part)
    )
    apart = apart_of(chart, curve.panel)
    return " · ".join(part for part in (named, apart, names.side(curve.side)) if part)
