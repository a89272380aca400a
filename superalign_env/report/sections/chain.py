"""The two-axis picture: every generation from A⁻ to A⁺, and the gaps between them."""

from superalign_env.figures import Axis, Described, Reading, Spot, draw_plane
from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.markup import Child, Markup, element, listed, table
from superalign_env.report.readings import Plane, plane
from superalign_env.report.section import Section, badge, picture, section
from superalign_env.rounding import decimal

TITLE = "Risk against capability"
_TEXT = (
    "Did alignment take the risk away and leave the capability? Measured by the truth on "
    "held-out cases while the run went on; the test split is below."
)
_TEXT_OF_CRITICS = (
    "Did alignment take the risk away and leave the capability? Risk is what critics call "
    "it here, for want of the truth; the test split is below."
)


def chain(document: Document) -> Section | None:
    """Return the picture and its numbers; nothing for a run without generations."""
    shown = plane(document)
    if not shown.rungs:
        return None
    described = Described("chain", TITLE, in_words(shown))
    drawn = draw_plane(
        shown.rungs, Axis(shown.risk, shown.capability, shown.people), described
    )
    heads = ("generation", "risk A⁻", "risk A⁺", "U of A⁻", "U of A⁺", "C", "δ", "gate")
    caption = f"Across: {shown.risk}. Upwards: {shown.capability}."
    rows = [
        (
            names.generation(rung.generation),
            *(_said(spot.risk if spot else None) for spot in (rung.before, rung.after)),
            *(
                _said(spot.capability if spot else None)
                for spot in (rung.before, rung.after)
            ),
            _said(shown.capacities.get(rung.generation)),
            _said(shown.gaps.get(rung.generation)),
            None if rung.accepted is None else badge(_verdict(rung.accepted)),
        )
        for rung in shown.rungs
    ]
    return section(
        "chain",
        TITLE,
        _TEXT if shown.by_truth else _TEXT_OF_CRITICS,
        element(
            "div",
            picture(drawn, caption, wide=TITLE),
            _how_to_read(shown),
            class_="beside",
        ),
        table(
            heads,
            rows,
            label="Risk, capability and capacity of every generation",
            class_="figures",
        ),
    )


def _how_to_read(shown: Plane) -> Markup:
    """Return a key to the picture, of what there is in it."""
    rungs = shown.rungs
    said: list[Child] = [
        "Each arrow is a generation: from A⁻ (hollow), competent and not yet aligned, to A⁺ "
        "(filled), aligned. A level arrow to the left kept its capability and lost its "
        "risk; one that falls paid for safety with capability.",
        "Thin crosses are 95 % intervals.",
    ]
    if any(rung.accepted is False for rung in rungs):
        said.append("Red, dashed and crossed: rolled back by the gate.")
    if any(rung.capacity is not None for rung in rungs):
        said.append(
            "Blue contours C: what a fresh model of that generation could achieve. A⁺ below "
            "its contour leaves something to elicit."
        )
    if any(rung.gap is not None and rung.capacity is not None for rung in rungs):
        said.append(
            "Double arrows δ, at the right: the gap from what a generation's teacher "
            "achieves to the generation's own contour. Below zero the teacher is the better."
        )
    if shown.people is not None:
        said.append("Dashed line: the people who taught the first generation.")
    return element("div", element("h3", "How to read it"), listed(said), class_="reading")


def in_words(shown: Plane) -> str:
    """Return the picture for those who do not see it."""
    parts = []
    for rung in shown.rungs:
        if rung.before and rung.after:
            parts.append(
                f"{names.generation(rung.generation)}: {_moved(rung.before, rung.after)}"
            )
    return "; ".join(parts)


def _moved(before: Spot, after: Spot) -> str:
    return (
        f"risk from {decimal(before.risk.value)} to {decimal(after.risk.value)}, "
        f"capability from {decimal(before.capability.value)} "
        f"to {decimal(after.capability.value)}"
    )


def _said(reading: Reading | None) -> str:
    if reading is None:
        return ""
    return names.bracketed(reading.value, reading.low, reading.high)


def _verdict(accepted: bool) -> str:
    return "accepted" if accepted else "rolled back"
