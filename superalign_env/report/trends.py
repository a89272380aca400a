"""Curves over generations, rounds and optimiser updates, each with its numbers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from superalign_env.figures import Dot, Line, Panel
from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.html import Markup, PageSection, element, folded, section, table
from superalign_env.report.layout import GROUPS, Chart, Group
from superalign_env.report.names import conditions
from superalign_env.report.plots import (
    MOST,
    Curve,
    Timeline,
    apart_of,
    axis,
    curves,
    leftover,
    multiples,
    panels,
    places_of,
    title_of,
)
from superalign_env.store import MetricRow
from superalign_env.types import MetricKind


def progress(document: Document, called: names.Names) -> Iterator[PageSection]:
    """Yield one section for each group of charts that has anything to show."""
    for group in GROUPS:
        groups = _group(document, group, called)
        if groups is not None:
            yield groups


def others(document: Document, called: names.Names) -> PageSection | None:
    """Return the curves of metrics that no chart names, folded away."""
    groups = [_group(document, group, called) for group in leftover(document)]
    bodies = [section.body for section in groups if section is not None]
    return (
        PageSection("others", "Other numbers", folded("Show them", *bodies))
        if bodies
        else None
    )


def _group(document: Document, group: Group, called: names.Names) -> PageSection | None:
    placed = axis(document, group)
    drawn_charts = [
        (chart, curves(document, chart, placed, called)) for chart in group.charts
    ]
    drawn_charts = [
        (chart, curves_shown) for chart, curves_shown in drawn_charts if curves_shown
    ]
    if not drawn_charts:
        return None
    charts: list[Markup] = []
    remaining = MOST
    for number, (chart, curves_shown) in enumerate(drawn_charts):
        panels_shown = panels(chart, curves_shown, placed)[:remaining]
        remaining -= len(panels_shown)
        if panels_shown:
            id = f"{group.id}-{number}"
            measured_under = conditions(
                metric for curve in curves_shown for _, metric in curve.points
            )
            text = " ".join(filter(None, (chart.text, measured_under)))
            charts.append(multiples(title_of(chart, curves_shown), text, panels_shown, id))
    return section(
        group.id,
        group.title,
        group.text,
        element("div", *charts, class_="charts"),
        folded(
            f"{group.title} in numbers",
            _numbers(drawn_charts, placed, f"{group.title} in numbers"),
        ),
    )


def _numbers(
    charts: list[tuple[Chart, list[Curve]]], placed: Timeline, label: str
) -> Markup:
    places = places_of(curve for _, curves_shown in charts for curve in curves_shown)
    ticks = dict(placed.ticks)
    heads = [
        "measure",
        *(f"{placed.across} {ticks.get(p, names.number(p))}" for p in places),
    ]
    rows = [
        (
            _called(chart, curve),
            *(
                names.interval(points[place]) if place in points else ""
                for points in (dict(curve.points),)
                for place in places
            ),
        )
        for chart, curves_shown in charts
        for curve in curves_shown
    ]
    return table(heads, rows, label=label, class_="figures")


def _called(chart: Chart, curve: Curve) -> str:
    label = (
        curve.label
        if len(chart.names) > 1
        else ": ".join(part for part in (chart.title, curve.kind) if part)
    )
    apart = apart_of(chart, curve.panel)
    return " · ".join(part for part in (label, apart, names.side(curve.side)) if part)


POINTS = 80
"""Of a line at most: longer series are means over as many stretches."""

_TELLING = ("stage", "algorithm", "part")
"""Tags that tell lines of one role apart, where a metric has several."""
_STYLES: tuple[Literal["solid", "dashed", "dotted"], ...] = ("solid", "dashed", "dotted")


class _Series(NamedTuple):
    """One metric of one role in one kind of stage."""

    role: str
    kind: tuple[str, ...]
    """Values of the telling tags."""
    points: list[tuple[float, float]]
    """(update, value)."""


def training(document: Document) -> PageSection | None:
    """Return the metrics of optimiser updates, thinned; None without any."""
    by_metric = _series(document.updates)
    roles = list(dict.fromkeys(s.role for several in by_metric.values() for s in several))
    charts: dict[str, list[str]] = {}
    for name in by_metric:
        if document.kind(name).chart == "line":
            charts.setdefault("/".join(name.split("/")[:2]), []).append(name)
    pictures: list[Markup] = []
    rows: list[tuple[str, ...]] = []
    remaining = MOST
    for chart, lines_here in charts.items():
        total = "in all" if len(lines_here) > 1 else ""
        panels = [
            _panel(
                by_metric[name],
                name.removeprefix(chart).strip("/") or total,
                roles,
                share=document.kind(name).unit == "share",
            )
            for name in lines_here
        ]
        panels, remaining = panels[:remaining], max(0, remaining - len(panels))
        if panels:
            kind = document.kind(chart)
            id = f"training-{len(pictures)}"
            pictures.append(multiples(kind.title, _reading(kind), panels, id))
        rows += [
            (document.kind(name).title, label, *_ends(series.points))
            for name in lines_here
            for series, label in zip(by_metric[name], _labels(by_metric[name]), strict=True)
        ]
    if not pictures:
        return None
    heads = ("metric", "of", "at first", "at last")
    return section(
        "training",
        "Training",
        "What algorithms computed at every update of a policy, a line for each role. A point "
        "of a long line is the mean of a stretch. Generations follow one another.",
        element("div", *pictures, class_="charts"),
        folded(
            "Training in numbers",
            element("p", "Means over the first and the last tenth of the updates."),
            table(heads, rows, label="Training in numbers", class_="figures"),
        ),
    )


def _series(rows: Iterable[MetricRow]) -> dict[str, list[_Series]]:
    """Return metric → series, in order of appearance, updates on an axis without steps back."""
    by_metric: dict[str, dict[tuple[str, ...], _Series]] = {}
    latest: dict[str, tuple[str, float]] = {}
    begun: dict[str, float] = {}
    for _, metric in rows:
        role = metric.tags.get("role", "")
        generation = metric.tags.get("generation", "")
        before, last = latest.get(role, (generation, 0.0))
        if generation != before and begun.get(role, 0.0) + metric.step < last:
            begun[role] = last  # a generation begins with a policy that is fresh
        place = begun.get(role, 0.0) + metric.step
        latest[role] = (generation, max(place, last))
        kind = tuple(metric.tags.get(tag, "") for tag in _TELLING)
        series = by_metric.setdefault(metric.name, {}).setdefault(
            (role, *kind), _Series(role, kind, [])
        )
        series.points.append((place, metric.value))
    return {name: list(several.values()) for name, several in by_metric.items()}


def _panel(
    several: Sequence[_Series], title: str, roles: Sequence[str], *, share: bool
) -> Panel:
    counted: dict[str, int] = {}
    lines = []
    for series, label in zip(several, _labels(several), strict=True):
        number = counted.get(series.role, 0)
        counted[series.role] = number + 1
        lines.append(
            Line(
                label,
                tuple(Dot(*point) for point in thinned(series.points)),
                colour=roles.index(series.role),
                style=_STYLES[number % len(_STYLES)],
                marks=len(series.points) == 1,
            )
        )
    places = [dot.place for line in lines for dot in line.dots]
    return Panel(title, tuple(lines), _ticks(places), "update", share)


def _labels(several: Sequence[_Series]) -> list[str]:
    """Return the label of each series: its role, and tags that differ within the role."""
    labels = []
    for series in several:
        kinds = [sibling.kind for sibling in several if sibling.role == series.role]
        telling = [
            value
            for place, value in enumerate(series.kind)
            if value and len({kind[place] for kind in kinds}) > 1
        ]
        labels.append(" · ".join((series.role or "policy", *telling)))
    return labels


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `POINTS` points: means over stretches of equally many."""
    ordered = sorted(points, key=lambda point: point[0])
    size = -(-len(ordered) // POINTS)
    stretches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    return [
        (stretch[-1][0], sum(value for _, value in stretch) / len(stretch))
        for stretch in stretches
    ]


def _ticks(places: Sequence[float]) -> tuple[tuple[float, str], ...]:
    """Return round places from the first to the last update, about five of them."""
    first, last = min(places), max(places)
    step = 1
    while (last - first) / step > 5:
        step = step * 2 if str(step)[0] in "15" else step * 5 // 2
    begin = int(first // step) * step
    end = int(-(-last // step)) * step
    return tuple((float(place), str(place)) for place in range(begin, end + 1, step))


def _ends(points: Sequence[tuple[float, float]]) -> tuple[str, str]:
    tenth = max(1, len(points) // 10)
    first, last = points[:tenth], points[-tenth:]
    return _mean(first), _mean(last)


def _mean(points: Sequence[tuple[float, float]]) -> str:
    return names.number(sum(value for _, value in points) / len(points))


def _reading(kind: MetricKind) -> str:
    unit = f"In {kind.unit}." if kind.unit and kind.unit != "share" else ""
    better = f"{kind.better.capitalize()} is better." if kind.better else ""
    return " ".join(filter(None, (unit, better)))
