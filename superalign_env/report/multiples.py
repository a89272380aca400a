"""Small multiples: the pictures of one chart under one title, with one legend for all."""

from collections.abc import Iterable, Sequence

from superalign_env.figures import Described, Line, Panel, draw_lines, draw_sample
from superalign_env.report import names
from superalign_env.report.markup import Markup, element, joined, listed


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
    shown = element("div", *pictures, class_="panels") if several else pictures[0]
    return element(
        "div",
        element("h3", title),
        element("p", text, class_="reading") if text else None,
        legend(line for panel in panels for line in panel.lines),
        shown,
        class_=" ".join(
            ("chart", *("several",) * several, *("two",) * (len(pictures) == 2))
        ),
    )


def legend(lines: Iterable[Line]) -> Markup | None:
    """Return what the lines are called, each once and beside a piece of it."""
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
    """Return a picture's name and, for those who do not see it, its numbers."""
    ticks = dict(panel.ticks)
    said = []
    for line in panel.lines:
        dots = ", ".join(
            f"{names.number(dot.value)} at {ticks.get(dot.place, names.number(dot.place))}"
            for dot in line.dots
        )
        said.append(f"{line.label}: {dots}" if line.label else dots)
    named = ": ".join(part for part in (title, panel.title) if part)
    return Described(id, named, f"By {panel.across}. {'; '.join(said)}.")
