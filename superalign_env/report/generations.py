"""Generations of a chain on two axes, risk and capability: the picture and its numbers."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from superalign_env.figures import (
    Axis,
    Described,
    Reading,
    Rung,
    Spot,
    draw_plane,
)
from superalign_env.measures import share
from superalign_env.report import names
from superalign_env.report.document import Document
from superalign_env.report.html import (
    Child,
    Markup,
    PageSection,
    badge,
    element,
    listed,
    picture,
    section,
    table,
)
from superalign_env.rounding import decimal
from superalign_env.types import Metric

_CEILINGS = ("gold-ceiling", "best-of-8")


class Plane(NamedTuple):
    """Generations on the two axes, with the labels of the axes."""

    rungs: tuple[Rung, ...]
    risk: str
    capability: str
    people: float | None
    """Capability of the people who taught the first generation."""
    by_truth: bool
    """Whether risk is what the truth says, and not critics."""
    capacities: Mapping[int, Reading]
    """Generation → C."""
    gaps: Mapping[int, Reading]
    """Generation → δ."""


def plane(document: Document) -> Plane:
    """Return every generation that was measured; risk by the truth where it is known.

    Nothing of the test split is used: it is read once, at the end.
    """
    metrics = [m for _, m in document.metrics if m.tags.get("split") != "test"]
    by_truth = any(m.name == "safety" and "side" in m.tags for m in metrics)
    verdicts = verdict_of_generations(document)
    steps = sorted({m.step for m in metrics if m.name == "capability.utility" and m.step})
    rungs = []
    people = None
    capacities: dict[int, Reading] = {}
    measured: dict[int, Reading] = {}
    for step in steps:
        metrics_here = [m for m in metrics if m.step == step]
        before, after = (_spot(metrics_here, side, by_truth) for side in "-+")
        if before is None and after is None:
            continue
        gaps = [
            m
            for m in metrics_here
            if m.name == "capability.gap" and _in(m, "in", "utility")
        ]
        capacity = _capacity(metrics_here)
        if capacity is not None:
            capacities[step] = capacity
        if gaps:
            measured[step] = _reading(gaps[-1])
        if gaps and capacity is not None and _in(gaps[-1], "to", "people"):
            people = capacity.value - gaps[-1].value
        rungs.append(
            Rung(
                step,
                before,
                after,
                None if capacity is None else capacity.value,
                verdicts.get(step),
                gaps[-1].value if gaps else None,
            )
        )
    families = {m.tags.get("family") for m in metrics if m.name == "capability.utility"}
    return Plane(
        tuple(rungs),
        "share of unsafe answers" if by_truth else "share that critics call hazardous",
        "utility U" if len(families) < 2 else f"utility U over {len(families)} families",
        people,
        by_truth,
        capacities,
        measured,
    )


def verdict_of_generations(document: Document) -> dict[int, bool]:
    """Return generation → the gate's decision."""
    return {
        row.generation: row.accepted
        for row in document.agents
        if row.side == "+" and row.generation and row.accepted is not None
    }


def utility(metrics: Iterable[Metric], side: str) -> Reading | None:
    """Return U of one side of a generation, over all its tasks of all families."""
    utilities = [
        m for m in metrics if m.name == "capability.utility" and _in(m, "side", side)
    ]
    return _pooled(utilities)


def risk(metrics: Iterable[Metric], side: str, *, by_truth: bool) -> Reading | None:
    """Return the risk of one side of a generation."""
    name = "safety" if by_truth else "risk.rate"
    risks = [m for m in metrics if m.name == name and _in(m, "side", side)]
    if not risks:
        return None
    metric = risks[-1]
    if not by_truth:
        return _reading(metric)
    low = None if metric.high is None else 1.0 - metric.high
    high = None if metric.low is None else 1.0 - metric.low
    return Reading(1.0 - metric.value, low, high)


def _spot(metrics: list[Metric], side: str, by_truth: bool) -> Spot | None:
    able, risky = utility(metrics, side), risk(metrics, side, by_truth=by_truth)
    return None if able is None or risky is None else Spot(risky, able)


def _capacity(metrics: list[Metric]) -> Reading | None:
    for ceiling in _CEILINGS:
        capacities = [
            m for m in metrics if m.name == "capability.capacity" and _in(m, "by", ceiling)
        ]
        reading = _pooled(capacities)
        if reading is not None:
            return reading
    return None


def _pooled(metrics: list[Metric]) -> Reading | None:
    """Return the share over all tasks of all families and tiers."""
    # What was measured again at a later stage takes the place of what it was before.
    newest = {(m.tags.get("family"), m.tags.get("tier")): m for m in metrics}.values()
    if not newest:
        return None
    if len(newest) == 1:
        (metric,) = newest
        return _reading(metric)
    tasks = sum(m.n for m in newest)
    if not all(m.n for m in newest):
        return Reading(sum(m.value for m in newest) / len(newest))
    value, low, high, _ = share(min(sum(m.value * m.n for m in newest), tasks), tasks)
    return Reading(value, low, high)


def _reading(metric: Metric) -> Reading:
    return Reading(metric.value, metric.low, metric.high)


def _in(metric: Metric, tag: str, value: str) -> bool:
    return metric.tags.get(tag) == value


TITLE = "Risk against capability"
_TEXT = (
    "Did alignment take the risk away and leave the capability? MetricRow by the truth on "
    "held-out cases while the run went on; the test split is below."
)
_TEXT_OF_CRITICS = (
    "Did alignment take the risk away and leave the capability? Risk is what critics call "
    "it here, for want of the truth; the test split is below."
)


def chain(document: Document) -> PageSection | None:
    """Return the picture and its numbers; nothing for a run without generations."""
    chain_plane = plane(document)
    if not chain_plane.rungs:
        return None
    described = Described("chain", TITLE, in_words(chain_plane))
    image = draw_plane(
        chain_plane.rungs,
        Axis(chain_plane.risk, chain_plane.capability, chain_plane.people),
        described,
    )
    heads = ("generation", "risk A⁻", "risk A⁺", "U of A⁻", "U of A⁺", "C", "δ", "gate")
    caption = f"Across: {chain_plane.risk}. Upwards: {chain_plane.capability}."
    rows = [
        (
            names.generation(rung.generation),
            *(_said(spot.risk if spot else None) for spot in (rung.before, rung.after)),
            *(
                _said(spot.capability if spot else None)
                for spot in (rung.before, rung.after)
            ),
            _said(chain_plane.capacities.get(rung.generation)),
            _said(chain_plane.gaps.get(rung.generation)),
            None if rung.accepted is None else badge(_verdict(rung.accepted)),
        )
        for rung in chain_plane.rungs
    ]
    return section(
        "chain",
        TITLE,
        _TEXT if chain_plane.by_truth else _TEXT_OF_CRITICS,
        element(
            "div",
            picture(image, caption, wide=TITLE),
            _how_to_read(chain_plane),
            class_="beside",
        ),
        table(
            heads,
            rows,
            label="Risk, capability and capacity of every generation",
            class_="figures",
        ),
    )


def _how_to_read(chain_plane: Plane) -> Markup:
    """Return a key to the marks of the picture."""
    rungs = chain_plane.rungs
    lines: list[Child] = [
        "Each arrow is a generation: from A⁻ (hollow), competent and not yet aligned, to A⁺ "
        "(filled), aligned. A level arrow to the left kept its capability and lost its "
        "risk; one that falls paid for safety with capability.",
        "Thin crosses are 95 % intervals.",
    ]
    if any(rung.accepted is False for rung in rungs):
        lines.append("Red, dashed and crossed: rolled back by the gate.")
    if any(rung.capacity is not None for rung in rungs):
        lines.append(
            "Blue contours C: what a fresh model of that generation could achieve. A⁺ below "
            "its contour leaves something to elicit."
        )
    if any(rung.gap is not None and rung.capacity is not None for rung in rungs):
        lines.append(
            "Double arrows δ, at the right: the gap from what a generation's teacher "
            "achieves to the generation's own contour. Below zero the teacher is the better."
        )
    if chain_plane.people is not None:
        lines.append("Dashed line: the people who taught the first generation.")
    return element("div", element("h3", "How to read it"), listed(lines), class_="reading")


def in_words(chain_plane: Plane) -> str:
    """Return the picture as text, for screen readers."""
    parts = []
    for rung in chain_plane.rungs:
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
