"""The two-axis picture: every generation from A⁻ to A⁺, and the gaps between them."""

from superalign_env.figures import Axis, Described, Reading, Spot, draw_plane
from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.markup import table
from superalign_env.report.readings import Plane, plane
from superalign_env.report.section import Section, badge, picture, section

_TEXT = (
    "Each arrow leads from A⁻, competent and not yet aligned, to A⁺. A level arrow to the "
    "left kept its capability and lost its risk. C are the contours of capacity; δ is the "
    "gap from what a generation's teacher achieves to what it could itself."
)


def chain(document: Document) -> Section | None:
    """Return the picture and its numbers; nothing for a run without generations."""
    shown = plane(document)
    if not shown.rungs:
        return None
    described = Described("chain", "Risk against capability", _words(shown))
    drawn = draw_plane(
        shown.rungs, Axis(shown.risk, shown.capability, shown.people), described
    )
    heads = ("generation", "risk A⁻", "risk A⁺", "U of A⁻", "U of A⁺", "C", "δ", "gate")
    rows = [
        (
            names.generation(rung.generation),
            *(_said(spot.risk if spot else None) for spot in (rung.before, rung.after)),
            *(
                _said(spot.capability if spot else None)
                for spot in (rung.before, rung.after)
            ),
            names.number(rung.capacity),
            names.number(rung.gap),
            None if rung.accepted is None else badge(_verdict(rung.accepted)),
        )
        for rung in shown.rungs
    ]
    return section(
        "chain",
        "Risk against capability",
        _TEXT,
        picture(drawn, f"Across: {shown.risk}. Upwards: {shown.capability}."),
        table(heads, rows, label="Risk, capability and capacity of every generation"),
    )


def _words(shown: Plane) -> str:
    parts = []
    for rung in shown.rungs:
        if rung.before and rung.after:
            parts.append(
                f"{names.generation(rung.generation)}: {_moved(rung.before, rung.after)}"
            )
    return "; ".join(parts)


def _moved(before: Spot, after: Spot) -> str:
    return (
        f"risk from {before.risk.value:.2f} to {after.risk.value:.2f}, "
        f"capability from {before.capability.value:.2f} to {after.capability.value:.2f}"
    )


def _said(reading: Reading | None) -> str:
    if reading is None:
        return ""
    if reading.low is None or reading.high is None:
        return names.number(reading.value)
    low, high = names.number(reading.low), names.number(reading.high)
    return f"{names.number(reading.value)} [{low}, {high}]"


def _verdict(accepted: bool) -> str:
    return "accepted" if accepted else "rolled back"
