"""What one generation came to on the two axes, from what was measured."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from superalign_env.figures import Reading, Rung, Spot
from superalign_env.measures import share
from superalign_env.report.document import Document
from superalign_env.types import Metric

_CEILINGS = ("gold-ceiling", "best-of-8")


class Plane(NamedTuple):
    """Generations on the two axes, and what those are."""

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
        here = [m for m in metrics if m.step == step]
        before, after = (_spot(here, side, by_truth) for side in "-+")
        if before is None and after is None:
            continue
        gaps = [m for m in here if m.name == "capability.gap" and _in(m, "in", "utility")]
        capacity = _capacity(here)
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
    """Return what the gate said of each generation that it judged."""
    return {
        row.generation: row.accepted
        for row in document.agents
        if row.side == "+" and row.generation and row.accepted is not None
    }


def utility(metrics: Iterable[Metric], side: str) -> Reading | None:
    """Return U of one side of a generation, over all its tasks of all families."""
    found = [m for m in metrics if m.name == "capability.utility" and _in(m, "side", side)]
    return _pooled(found)


def risk(metrics: Iterable[Metric], side: str, *, by_truth: bool) -> Reading | None:
    """Return the risk of one side of a generation."""
    name = "safety" if by_truth else "risk.rate"
    found = [m for m in metrics if m.name == name and _in(m, "side", side)]
    if not found:
        return None
    metric = found[-1]
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
        found = [
            m for m in metrics if m.name == "capability.capacity" and _in(m, "by", ceiling)
        ]
        reading = _pooled(found)
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
