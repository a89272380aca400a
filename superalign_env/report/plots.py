"""From metrics to charts: curves, their panels, small multiples with one legend."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from superalign_env.figures import Described, Dot, Line, Panel, draw_lines, draw_sample
from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.html import Markup, element, joined, listed
from superalign_env.report.layout import GROUPS, Chart, Group
from superalign_env.store import MetricRow, Stage
from superalign_env.types import Metric

MOST = 36
"""Panels of one group that a page draws; the numbers of all are in its tables."""

_ONE_NUMBER = "test"
"""The split that is read once: its numbers belong into a table."""


class Curve(NamedTuple):
    """One metric over generations or rounds."""

    panel: tuple[str, ...]
    """Values of the tags that tell panels apart."""
    name: str
    of: tuple[str, ...]
    """Values of the tags that tell lines apart."""
    side: str
    title: str
    """Of the metric."""
    share: bool
    """Whether its numbers are shares."""
    points: tuple[tuple[float, Metric], ...]

    @property
    def label(self) -> str:
        """Label of the line beside others."""
        return ": ".join(part for part in (self.title, self.kind) if part)

    @property
    def kind(self) -> str:
        """Label of the line beside others of the same metric."""
        return ", ".join(part for part in self.of if part)


class Timeline(NamedTuple):
    """The horizontal axis of a group."""

    across: str
    ticks: tuple[tuple[float, str], ...]
    places: dict[str, float]
    """Stage → place."""


def axis(document: Document, group: Group) -> Timeline:
    """Return the axis of generations, or of all rounds of all generations in order."""
    if group.over == "generation":
        numbers = sorted({stage.generation for stage in document.stages})
        places = {stage.id: float(stage.generation) for stage in document.stages}
        return Timeline("generation", tuple((float(n), str(n)) for n in numbers), places)
    names_shown = {name for chart in group.charts for name in chart.names}
    measured = {row.stage for row in document.metrics if row.metric.name in names_shown}
    pairs = sorted({(s.generation, s.round) for s in document.stages if s.id in measured})
    order = {pair: float(place) for place, pair in enumerate(pairs)}
    several_generations = len({generation for generation, _ in pairs}) > 1
    ticks = tuple(
        (order[pair], f"{pair[0]}·{pair[1]}" if several_generations else str(pair[1]))
        for pair in pairs
    )
    places = {
        s.id: order[s.generation, s.round] for s in document.stages if s.id in measured
    }
    return Timeline("generation · round" if several_generations else "round", ticks, places)


def curves(
    document: Document, chart: Chart, placed: Timeline, called: names.Names
) -> list[Curve]:
    """Return the curves of a chart, in the order of its metrics and their tags."""
    points: dict[
        tuple[tuple[str, ...], str, tuple[str, ...], str], dict[float, Metric]
    ] = {}
    rows = [row for row in document.metrics if _fits(row.metric, chart)]
    learning = [row for row in rows if row.metric.tags.get("split") != _ONE_NUMBER]
    for row in learning or rows:
        metric = row.metric
        place = _place(row, placed)
        if place is None:
            continue
        key = (
            tuple(metric.tags.get(tag, "") for tag in chart.apart),
            metric.name,
            (
                *(metric.tags.get(tag, "") for tag in chart.tags),
                *((called(metric.agent),) if chart.whose else ()),
            ),
            metric.tags.get("side", ""),
        )
        points.setdefault(key, {})[place] = metric
    ordered = sorted(
        points, key=lambda key: (key[0], chart.names.index(key[1]), key[2], key[3] != "-")
    )
    return [
        Curve(
            *key,
            document.kind(key[1]).title,
            document.is_share(key[1]),
            tuple(sorted(points[key].items(), key=_first)),
        )
        for key in ordered
    ]


def panels(chart: Chart, curves_shown: Sequence[Curve], placed: Timeline) -> list[Panel]:
    """Return one panel for each set of tags that tells panels apart, titled by these."""
    kinds = list(dict.fromkeys((curve.name, curve.of) for curve in curves_shown))
    sets = list(dict.fromkeys(curve.panel for curve in curves_shown))
    panels_made = []
    for apart in sets:
        curves_here = [curve for curve in curves_shown if curve.panel == apart]
        lines = [
            Line(
                _label(curve, curves_shown),
                tuple(dot(place, metric) for place, metric in curve.points),
                colour=kinds.index((curve.name, curve.of)),
                style=_style(curve),
                hollow=curve.side == "-",
            )
            for curve in curves_here
        ]
        used = {place for curve in curves_here for place, _ in curve.points}
        ticks = tuple(tick for tick in placed.ticks if tick[0] >= min(used))
        title = apart_of(chart, apart) or ("all" if len(sets) > 1 else "")
        share = all(curve.share for curve in curves_here)
        panels_made.append(Panel(title, tuple(lines), ticks, placed.across, share))
    return panels_made


def title_of(chart: Chart, curves_shown: Sequence[Curve]) -> str:
    """Return the title of a chart; where one of several metrics is alone, it is named."""
    measured = {curve.name for curve in curves_shown}
    if len(chart.names) > 1 and len(measured) == 1:
        return curves_shown[0].title
    return chart.title


def apart_of(chart: Chart, apart: Sequence[str]) -> str:
    """Return the title of a panel: the tags that differ between panels."""
    values = [
        f"tier {value}" if tag == "tier" else value
        for tag, value in zip(chart.apart, apart, strict=True)
        if value
    ]
    return ", ".join(values)


def dot(place: float, metric: Metric) -> Dot:
    """Return a metric as a point with its interval and tooltip."""
    count = f", n {metric.n}" if metric.n else ""
    return Dot(
        place, metric.value, metric.low, metric.high, f"{names.interval(metric)}{count}"
    )


def leftover(document: Document) -> list[Group]:
    """Return groups of all other metrics that were measured more than once."""
    grouped = {name for group in GROUPS for chart in group.charts for name in chart.names}
    stages = {stage.id: stage for stage in document.stages}
    measured: dict[str, list[Stage]] = {}
    for name, metric in document.metrics:
        has_chart = metric.name in grouped or document.kind(metric.name).chart != "line"
        if name in stages and not has_chart and not metric.opponent:
            measured.setdefault(metric.name, []).append(stages[name])
    charts: dict[Literal["generation", "round"], list[Chart]] = {
        "generation": [],
        "round": [],
    }
    for name, stages_here in measured.items():
        if len({stage.id for stage in stages_here}) > 1:
            chart = Chart(
                document.kind(name).title,
                (name,),
                tags=_telling(document, name),
                whose=_is_of_many(document, name),
            )
            charts[_over(stages_here)].append(chart)
    return [
        Group(f"others-{over}", "Other numbers", "", tuple(stages_here), over=over)
        for over, stages_here in charts.items()
        if stages_here
    ]


def _over(stages: Sequence[Stage]) -> Literal["generation", "round"]:
    """Return whether a metric was measured once a generation, or more often."""
    distinct = {(stage.id, stage.generation) for stage in stages}
    generations = {generation for _, generation in distinct}
    once = len(distinct) == len(generations) and 0 not in generations
    return "generation" if once else "round"


def _fits(metric: Metric, chart: Chart) -> bool:
    return (
        metric.name in chart.names
        and chart.having.items() <= metric.tags.items()
        and not any(tag in metric.tags for tag in chart.lacking)
    )


def _place(row: MetricRow, placed: Timeline) -> float | None:
    if placed.across == "generation" and row.metric.step:
        return float(row.metric.step)
    return placed.places.get(row.stage)


def _first(point: tuple[float, Metric]) -> float:
    return point[0]


def _label(curve: Curve, beside: Sequence[Curve]) -> str:
    """Return the label of a line: what differs between lines of the chart."""
    label = curve.label if len({other.name for other in beside}) > 1 else curve.kind
    if len({(other.name, other.of) for other in beside}) == 1:
        label = ""
    return ", ".join(part for part in (label, names.side(curve.side)) if part)


def _style(curve: Curve) -> Literal["solid", "dashed", "dotted"]:
    if curve.name in ("capability.capacity", "capability.imitation_ceiling"):
        return "dotted"
    return "dashed" if curve.side == "-" else "solid"


def _telling(document: Document, name: str) -> tuple[str, ...]:
    """Return the tags whose values differ between the lines of a metric."""
    values: dict[str, set[str]] = {}
    for _, metric in document.metrics:
        if metric.name == name:
            for tag, value in metric.tags.items():
                values.setdefault(tag, set()).add(value)
    dull = {"who", "split", "side"}
    return tuple(tag for tag in sorted(values) if tag not in dull and len(values[tag]) > 1)


def _is_of_many(document: Document, name: str) -> bool:
    """Return whether several agents were measured alike in one stage."""
    alike: set[tuple[str, ...]] = set()
    for stage, metric in document.metrics:
        if metric.name == name:
            same = (stage, *map(str, sorted(metric.tags.items())))
            if same in alike:
                return True
            alike.add(same)
    return False


def places_of(curves_shown: Iterable[Curve]) -> list[float]:
    """Return every place at which one of the curves has a point, in order."""
    return sorted({place for curve in curves_shown for place, _ in curve.points})


def multiples(title: str, text: str, panels: Sequence[Panel], id: str) -> Markup:
    """Return the pictures of a chart: one stands beside other charts, several below it.

    Args:
        title: of the chart.
        text: what it shows and how to read it.
        panels: what they are titled with tells them from one another.
        id: that no other chart of the page has.
    """
    pictures = [
        element(
            "figure",
            element("figcaption", panel.title) if panel.title not in ("", title) else None,
            Markup(draw_lines(panel, described(title, panel, f"{id}-{number}"))),
        )
        for number, panel in enumerate(panels)
    ]
    several = len(pictures) > 1
    content = element("div", *pictures, class_="panels") if several else pictures[0]
    return element(
        "div",
        element("h3", title),
        element("p", text, class_="reading") if text else None,
        legend(line for panel in panels for line in panel.lines),
        content,
        class_=" ".join(
            ("chart", *("several",) * several, *("two",) * (len(pictures) == 2))
        ),
    )


def legend(lines: Iterable[Line]) -> Markup | None:
    """Return a legend: each label once, beside a sample of its line."""
    looks = {
        (line.label, line.colour, line.style, line.hollow, line.marks): line
        for line in lines
    }
    entries = [
        joined((Markup(draw_sample(line)), line.label))
        for line in looks.values()
        if line.label
    ]
    return listed(entries, class_="legend") if entries else None


def described(title: str, panel: Panel, id: str) -> Described:
    """Return a picture's accessible name, and its numbers as text."""
    ticks = dict(panel.ticks)
    texts = []
    for line in panel.lines:
        dots = ", ".join(
            f"{names.number(dot.value)} at {ticks.get(dot.place, names.number(dot.place))}"
            for dot in line.dots
        )
        texts.append(f"{line.label}: {dots}" if line.label else dots)
    heading = ": ".join(part for part in (title, panel.title) if part)
    return Described(id, heading, f"By {panel.across}. {'; '.join(texts)}.")
