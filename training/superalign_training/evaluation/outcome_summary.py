"""Summary of rounds in any scenario: a table of rewards and grades, and one sentence."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from superalign_env.evaluation import titled
from superalign_env.measures import Estimate
from superalign_env.rounding import decimal
from superalign_env.store import declare
from superalign_env.types import Metric
from superalign_training.evaluation.summary import as_markdown, plain_metric

GAIN = "pay.gain"
"""Metric: by how much a seat's pay rose, on the same held-out tasks."""

_COMMON = ("who", "split")
"""Tags that say whose number it is, not which number."""


declare(GAIN, "Rise of pay on unseen tasks", better="higher")


class OutcomeSummary(NamedTuple):
    """Tables and sentence of a run of rounds."""

    lines: dict[str, dict[str, dict[str, Metric]]]
    """Split → who (``before``, ``round 1``, ``final``) → row → metric."""
    gains: dict[str, Metric]
    """Seat → by how much its pay rose on unseen tasks."""

    @property
    def has_learned(self) -> bool:
        """Whether the reward of a learning seat rose significantly."""
        return any(gain.low is not None and gain.low > 0 for gain in self.gains.values())

    @property
    def sentence(self) -> str:
        """The seats whose reward rose, and by how much."""
        if not self.gains:
            return "Nothing was compared: nobody who learns holds a seat."
        parts = [
            f"{seat} by {Estimate(g.value, g.low, g.high, g.n).said(sign=True)}"
            for seat, g in self.gains.items()
        ]
        n = max(gain.n for gain in self.gains.values())
        verdict = "rose" if self.has_learned else "did NOT surely rise"
        return f"On {n} unseen tasks pay {verdict}: {', '.join(parts)}."

    @property
    def splits(self) -> list[str]:
        """The splits that were measured; the unseen one first."""
        return sorted(self.lines, key=lambda split: split != "test")

    def note(self, split: str) -> str:
        """Return the conditions of measurement of one split."""
        return "Held-out tasks, the same in every column." if split in self.lines else ""

    def rows(self, split: str) -> list[list[str]]:
        """Return the table of one split: a heading, then one row for each measure."""
        lines = self.lines[split]
        names = dict.fromkeys(name for values in lines.values() for name in values)
        table = [[f"split {split}", *lines]]
        for name in names:
            metrics = [values.get(name) for values in lines.values()]
            table.append([name, *map(_shown, metrics)])
        return table

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "has_learned": self.has_learned,
            "sentence": self.sentence,
            "gains": {seat: plain_metric(gain) for seat, gain in self.gains.items()},
            "lines": [
                {
                    "who": lineup_name,
                    "split": split,
                    **{name: plain_metric(metric) for name, metric in values.items()},
                }
                for split, lines in self.lines.items()
                for lineup_name, values in lines.items()
            ],
        }

    def markdown(self) -> str:
        """Return the tables and the sentence as Markdown."""
        tables = [(self.rows(split), self.note(split)) for split in self.splits]
        return as_markdown("What was learned", self.sentence, tables)


def summarise_outcomes(metrics: Sequence[Metric]) -> OutcomeSummary:
    """Return the summary of rewards, grades and failures.

    Args:
        metrics: with the tags ``name`` and ``split``.
    """
    lines: dict[str, dict[str, dict[str, Metric]]] = {}
    for metric in metrics:
        name, split = metric.tags.get("who"), metric.tags.get("split")
        if name and split and _is_shown(metric):
            lines.setdefault(split, {}).setdefault(name, {})[_row(metric)] = metric
    gains = {m.tags["seat"]: m for m in metrics if m.name == GAIN}
    return OutcomeSummary(lines, gains)


def _is_shown(metric: Metric) -> bool:
    if metric.name == "episodes.failed":
        return metric.value > 0
    return metric.name.startswith(("pay", "grade.", "verdicts."))


def _row(metric: Metric) -> str:
    of = " ".join(
        value for tag, value in metric.tags.items() if tag not in _COMMON and value
    )
    return ", ".join(filter(None, (titled(metric.name), of)))


def _shown(metric: Metric | None) -> str:
    if metric is None:
        return ""
    if metric.low is None or metric.high is None:
        return decimal(metric.value)
    spread = max(metric.value - metric.low, metric.high - metric.value)
    return f"{decimal(metric.value)} ±{decimal(spread)}"
