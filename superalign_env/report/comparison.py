"""Several runs side by side: the same colour means the same run all over the page."""

from collections.abc import Sequence

from superalign_env.figures import Axis, Described, Line, Panel, draw_plane
from superalign_env.figures.palette import series
from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.generations import TITLE, in_words, plane
from superalign_env.report.html import (
    Child,
    Markup,
    PageSection,
    badge,
    element,
    folded,
    joined,
    listed,
    page,
    picture,
    section,
    table,
)
from superalign_env.report.layout import GROUPS, Chart, Group
from superalign_env.report.overview import (
    duration,
    grouped,
    sentence,
    total,
)
from superalign_env.report.plots import (
    MOST,
    Curve,
    Timeline,
    apart_of,
    axis,
    curves,
    dot,
    multiples,
)
from superalign_env.report.table_sections import parted
from superalign_env.types import Metric

_UNTOLD = frozenset({"run_dir"})
"""Settings that differ between any two runs."""
_BASELINES = ("always-comply", "always-refuse")


_Place = tuple[int, tuple[str, ...], tuple[str, ...]]
"""Metric, tags that tell lines apart, tags that tell panels apart: where a curve stands."""


def compared(documents: Sequence[Document]) -> str:
    """Return the page that shows runs side by side."""
    titles = _titles(documents)
    heads = [_swatched(number, title) for number, title in enumerate(titles)]
    head = element(
        "header",
        element("p", "superalign · comparison", class_="kicker"),
        element("h1", f"{len(documents)} runs side by side"),
        listed(
            joined((swatch, ": ", sentence(document)))
            for swatch, document in zip(heads, documents, strict=True)
        ),
        id="top",
    )
    parts = [
        _facts(documents, heads),
        _differences(documents, heads),
        _planes(documents, heads),
        _finals(documents, heads),
        *(_overlaid(documents, titles, group) for group in GROUPS),
        _events(documents, heads),
    ]
    return page("Runs side by side", head, [part for part in parts if part is not None])


def _titles(documents: Sequence[Document]) -> list[str]:
    """Return the titles of runs, numbered where two have one name."""
    ids = [document.info.id for document in documents]
    return [
        f"{title} ({number + 1})" if ids.count(title) > 1 else title
        for number, title in enumerate(ids)
    ]


def _swatched(number: int, title: str) -> Markup:
    mark = element("span", class_=f"swatch b-{series(number)}")
    return joined((mark, title))


def _facts(documents: Sequence[Document], heads: Sequence[Markup]) -> PageSection:
    def row(name: str, cells: Sequence[Child]) -> tuple[Child, ...]:
        return (name, *cells)

    rows = [
        row("folder", [document.path for document in documents]),
        row("kind", [document.info.kind for document in documents]),
        row("status", [badge(document.info.status) for document in documents]),
        row("seed", [str(document.info.seed) for document in documents]),
        row("revision", [document.info.revision[:12] for document in documents]),
        row("generations", [str(document.generations) for document in documents]),
    ]
    for name, field in (
        ("episodes", "episodes"),
        ("utterances", "utterances"),
        ("tokens read", "prompt_tokens"),
        ("tokens written", "tokens"),
    ):
        rows.append(row(name, [grouped(total(document, field)) for document in documents]))
    rows.append(
        row("people answered", [str(document.budget.answered) for document in documents])
    )
    rows.append(
        row("hazards", [str(sum(document.found.values())) for document in documents])
    )
    times = [sum(document.seconds.values()) for document in documents]
    if any(times):
        rows.append(row("time", [duration(seconds) for seconds in times]))
    return section(
        "runs", "Runs and their cost", "", table(("", *heads), rows, label="Runs")
    )


def _differences(documents: Sequence[Document], heads: Sequence[Markup]) -> PageSection:
    configs = [names.flat(document.info.config) for document in documents]
    configs = [
        {**config, "seed": str(document.info.seed)}
        for config, document in zip(configs, documents, strict=True)
    ]
    keys = sorted({key for config in configs for key in config} - _UNTOLD)
    rows = [
        (key, *(config.get(key, "–") for config in configs))
        for key in keys
        if len({config.get(key) for config in configs}) > 1
    ]
    differing = (
        table(("setting", *heads), rows, label="Settings that differ")
        if rows
        else element("p", "All settings are the same.")
    )
    return section("settings", "Settings that differ", "", differing)


def _finals(documents: Sequence[Document], heads: Sequence[Markup]) -> PageSection | None:
    """Return the newest number of each measure; those of the test split stand apart."""
    newest = [_newest(document) for document in documents]
    kinds = {n: k for document in documents for n, k in document.metric_kinds.items()}
    keys = list(dict.fromkeys(key for metrics in newest for key in metrics))
    if not keys:
        return None
    unseen = {
        key
        for metrics in newest
        for key, metric in metrics.items()
        if metric.tags.get("split") == "test"
    }

    def numbers(label: str, keys_shown: Sequence[names.Key]) -> Markup | None:
        rows = [
            (k.title(kinds), *(names.interval(f[k]) if k in f else "" for f in newest))
            for k in keys_shown
        ]
        heading: tuple[Child, ...] = ("measure", *heads)
        return table(heading, rows, label=label, class_="figures") if rows else None

    first, rest = parted([key for key in keys if key in unseen])
    more = numbers("More numbers on unseen cases", rest)
    last = numbers("Newest numbers", [key for key in keys if key not in unseen])
    return section(
        "finals",
        "Final numbers",
        "The newest number of each measure, on unseen cases where there are any. In "
        "brackets: 95 % intervals, each by itself; whether runs differ is a question for "
        "paired intervals over seeds.",
        numbers("Numbers on unseen cases", first),
        None if more is None else folded(f"{len(rest)} more measures", more),
        None if last is None else folded("Newest numbers of other splits", last),
    )


def _newest(document: Document) -> dict[names.Key, Metric]:
    """Return the newest metric of each measure, baselines left out."""
    newest: dict[names.Key, Metric] = {}
    for _, metric in document.metrics:
        agent, split = metric.tags.get("who", ""), metric.tags.get("split", "")
        former = agent in ("before", *_BASELINES) or metric.tags.get("side") == "-"
        if former or metric.opponent or split not in ("test", "gate", ""):
            continue
        key = names.key(metric)
        earlier = newest.get(key)
        if earlier is None or split == "test" or earlier.tags.get("split") != "test":
            newest[key] = metric
    return newest


def _planes(documents: Sequence[Document], heads: Sequence[Markup]) -> PageSection | None:
    """Return the two-axis picture of every run that has one."""
    pictures = []
    for number, (document, head) in enumerate(zip(documents, heads, strict=True)):
        chain_plane = plane(document)
        if chain_plane.rungs:
            title = f"{TITLE}, run {number + 1}"
            image = draw_plane(
                [
                    rung._replace(gap=None) for rung in chain_plane.rungs
                ],  # they have curves below
                Axis(chain_plane.risk, chain_plane.capability, chain_plane.people),
                Described(f"plane-{number}", title, in_words(chain_plane)),
            )
            parts = (element("h3", head), picture(image, wide=title))
            pictures.append(element("div", *parts))
    if not pictures:
        return None
    text = (
        "Each arrow is a generation, from A⁻ to A⁺: to the left is safer, upwards more able. "
        "Blue contours are capacities C."
    )
    return section("chain", TITLE, text, element("div", *pictures, class_="planes"))


def _overlaid(
    documents: Sequence[Document], titles: Sequence[str], group: Group
) -> PageSection | None:
    placed = [axis(document, group) for document in documents]
    charts: list[Markup] = []
    remaining = MOST
    for number, chart in enumerate(group.charts):
        curves_by_place: dict[_Place, dict[int, Curve]] = {}
        for run, document in enumerate(documents):
            called = names.Names(document.agents)
            for curve in curves(document, chart, placed[run], called):
                if curve.side != "-":
                    place = (chart.names.index(curve.name), curve.of, curve.panel)
                    curves_by_place.setdefault(place, {})[run] = curve
        panels_shown = [
            _lines(
                _panel(chart, lines) if len(curves_by_place) > 1 else "",
                lines,
                titles,
                placed,
            )
            for _, lines in sorted(curves_by_place.items())[:remaining]
        ]
        remaining -= len(panels_shown)
        if panels_shown:
            id = f"{group.id}-{number}"
            charts.append(multiples(chart.title, chart.text, panels_shown, id))
    if not charts:
        return None
    side = (
        "Of every generation the aligned side, A⁺. " if group.over == "generation" else ""
    )
    return section(
        group.id,
        group.title,
        f"{group.text} {side}".strip(),
        element("div", *charts, class_="charts"),
    )


def _lines(
    label: str,
    curves_here: dict[int, Curve],
    titles: Sequence[str],
    placed: Sequence[Timeline],
) -> Panel:
    longest = max((placed[number] for number in curves_here), key=lambda p: len(p.ticks))
    lines = tuple(
        Line(
            titles[number],
            tuple(dot(place, metric) for place, metric in curve.points),
            colour=number,
        )
        for number, curve in curves_here.items()
    )
    start = min(dot.place for line in lines for dot in line.dots)
    ticks = tuple(tick for tick in longest.ticks if tick[0] >= start)
    share = all(curve.share for curve in curves_here.values())
    return Panel(label, lines, ticks, longest.across, share)


def _panel(chart: Chart, lines: dict[int, Curve]) -> str:
    """Return the title of a panel in which every line is a run."""
    curve = next(iter(lines.values()))
    label = curve.label if len(chart.names) > 1 else curve.kind
    return " · ".join(part for part in (label, apart_of(chart, curve.panel)) if part)


def _events(documents: Sequence[Document], heads: Sequence[Markup]) -> PageSection | None:
    loud = ("gate.", "alarm.", "hazard.", "correction.")
    kinds = sorted(
        {kind for document in documents for kind in document.kinds if kind.startswith(loud)}
    )
    if not kinds:
        return None
    rows = [
        (kind, *(str(document.kinds.get(kind, 0)) for document in documents))
        for kind in kinds
    ]
    return section(
        "events", "Gate and alarms", "", table(("event", *heads), rows, label="Events")
    )
