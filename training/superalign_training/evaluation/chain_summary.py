"""Summary of a chain of generations: tables by generation, and one sentence."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.report.names import conditions
from superalign_env.rounding import decimal
from superalign_env.types import Metric
from superalign_training.evaluation.summary import as_markdown, plain_metric

ROWS: tuple[tuple[str, str], ...] = (
    ("U", "capability.utility"),
    ("C", "capability.capacity"),
    ("δ", "capability.gap"),
    ("student − weak", "capability.w2s_minus_weak"),
    ("PGR", "capability.pgr"),
    ("imitation", "capability.imitation"),
    ("ceiling's imitation", "capability.imitation_ceiling"),
    ("conformity", "conformity"),
    ("safety", "safety"),
    ("over-refusal", "over-refusal"),
    ("distinct answers", "capability.distinct"),
)
"""Heading, metric: what is shown of each generation, never summed up."""

_HEADINGS = {name: heading for heading, name in ROWS}

PARTED = (
    "capability.w2s_minus_weak",
    "capability.pgr",
    "capability.imitation",
    "capability.imitation_ceiling",
)
"""What is shown over all families only."""

COMMON = ("who", "side", "split", "teacher", "to", "controller")
"""Tags that say whose number it is, not which number."""


class GateOutcome(NamedTuple):
    """The gate's decision on one generation."""

    generation: int
    level: int
    accepted: bool
    reason: str
    """Why it was rolled back; empty if it was not."""


class ChainSummary(NamedTuple):
    """Tables and sentence of a run of generations."""

    outcomes: tuple[GateOutcome, ...]
    lines: dict[str, dict[str, dict[str, Metric]]]
    """Split → who (``A2+``) → heading → metric."""

    @property
    def sentence(self) -> str:
        """Number of accepted generations, and the abilities of the first and last."""
        accepted = [outcome for outcome in self.outcomes if outcome.accepted]
        parts = [f"{len(accepted)} of {len(self.outcomes)} generations were accepted."]
        parts += [
            f"A{outcome.generation} was rolled back: {outcome.reason}."
            for outcome in self.outcomes
            if not outcome.accepted
        ]
        generations = list(self.lines.get("test", {}).items())
        if len(generations) > 1:
            (first_name, before), (last_name, after) = generations[0], generations[-1]
            changes = [
                f"{name} {decimal(before[name].value)} → {decimal(after[name].value)}"
                for name in after
                if name in before
                and name.startswith(("U ", "safety", "over-refusal benign"))
            ]
            parts.append(
                f"On unseen tasks, {first_name} → {last_name}: {', '.join(changes)}."
            )
        return " ".join(parts)

    @property
    def splits(self) -> list[str]:
        """The splits that were measured; the unseen one first."""
        return sorted(self.lines, key=lambda split: split != "test")

    def note(self, split: str) -> str:
        """Return the conditions of measurement of one split."""
        return conditions(
            m for metrics in self.lines[split].values() for m in metrics.values()
        )

    def rows(self, split: str) -> list[list[str]]:
        """Return the table of one split: a heading, then one row for each number."""
        by_who = self.lines[split]
        names = list(dict.fromkeys(name for metrics in by_who.values() for name in metrics))
        order = [heading for heading, _ in ROWS]
        names.sort(key=lambda name: next(i for i, h in enumerate(order) if _of(name, h)))
        table = [[f"split {split}", *by_who]]
        for name in names:
            cells = [metrics.get(name) for metrics in by_who.values()]
            table.append([name, *("" if m is None else decimal(m.value) for m in cells)])
        return table

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "sentence": self.sentence,
            "generations": [outcome._asdict() for outcome in self.outcomes],
            "notes": {split: self.note(split) for split in self.splits},
            "lines": [
                {"who": column, "split": split}
                | {name: plain_metric(metric) for name, metric in metrics.items()}
                for split, by_who in self.lines.items()
                for column, metrics in by_who.items()
            ],
        }

    def markdown(self) -> str:
        """Return the tables and the sentence as Markdown."""
        tables = [(self.rows(split), self.note(split)) for split in self.splits]
        return as_markdown("What became of the chain", self.sentence, tables)


def summarise_chain(
    metrics: Sequence[Metric], outcomes: Sequence[GateOutcome]
) -> ChainSummary:
    """Return the summary of everything that was measured of generations.

    Args:
        metrics: with the tags ``name`` and ``split``.
        outcomes: of all generations, in order.
    """
    lines: dict[str, dict[str, dict[str, Metric]]] = {}
    visible = [m for m in metrics if _is_shown(m)]
    for metric in sorted(visible, key=lambda m: "side" not in m.tags):
        by_who = lines.setdefault(metric.tags["split"], {})
        name = metric.tags["who"]
        # What holds for a generation as such holds for both of its sides.
        sides = [name] if "side" in metric.tags else [w for w in by_who if w[:-1] == name]
        for side in sides:
            row = by_who.setdefault(side, {})
            row[_named(_HEADINGS[metric.name], metric.tags)] = metric
    return ChainSummary(tuple(outcomes), lines)


def _is_shown(metric: Metric) -> bool:
    """Return whether a metric is in the tables; parts of a comparison are in the report."""
    part = metric.name in PARTED and "family" in metric.tags
    return metric.name in _HEADINGS and {"who", "split"} <= metric.tags.keys() and not part


def _named(heading: str, tags: Mapping[str, str]) -> str:
    """Return ``U arithmetic 1``: the measure, and the part that it is about."""
    return " ".join([heading, *(v for k, v in tags.items() if k not in COMMON)])


def _of(name: str, heading: str) -> bool:
    return name == heading or name.startswith(f"{heading} ")
