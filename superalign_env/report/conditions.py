"""Under which conditions something was measured: what numbers alone do not tell."""

from collections.abc import Iterable

from superalign_env.types import Metric

_SPLITS = {
    "test": "held out, asked once at the end",
    "gate": "held out, asked all along",
}
"""Split → how it is used; no request is in two of them."""


def conditions(metrics: Iterable[Metric]) -> str:
    """Return on which split metrics were measured, and what fresh attackers had for it.

    It is what the metrics themselves say. Empty where they do not, or where they are of
    several splits.
    """
    found = list(metrics)
    return " ".join(filter(None, (_split(found), _fresh(found))))


def _split(metrics: list[Metric]) -> str:
    splits = {metric.tags.get("split", "") for metric in metrics}
    if len(splits) != 1 or "" in splits:
        return ""
    (split,) = splits
    known = _SPLITS.get(split)
    return f"Split {split}: {known}." if known else f"Split {split}."


def _fresh(metrics: list[Metric]) -> str:
    """Say how many queries each fresh attacker had, and how many of them count."""
    attacks = [metric for metric in metrics if "queries" in metric.tags]
    if not attacks:
        return ""
    had = _range(int(metric.tags["queries"]) for metric in attacks)
    return (
        f"Each fresh attacker had {had} queries; the valid ones among its last are counted "
        f"({_range(metric.n for metric in attacks)}). It repeats what does harm, so two "
        "of them may come to very different shares."
    )


def _range(counts: Iterable[int]) -> str:
    known = sorted(set(counts))
    return str(known[0]) if len(known) == 1 else f"{known[0]} to {known[-1]}"
