"""Summary of a run: one table, and one sentence on whether the learner learned."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from superalign_env.measures import Estimate
from superalign_env.plain_text import markdown, markdown_table
from superalign_env.report.names import conditions
from superalign_env.rounding import decimal
from superalign_env.types import Metric
from superalign_training.evaluation.refusals import ASKED

_MOST_WIDE = 4
"""Columns that fit a terminal of 80 characters with their intervals."""

COLUMNS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("both sides right", "refusals.balanced-accuracy", {}),
    ("misses", "refusals.miss", {}),
    ("over-refusals", "refusals.over-refusal", {}),
    ("refuses harmful", "refusals.share", {"truth": "harmful"}),
    ("refuses benign", "refusals.share", {"truth": "benign"}),
    ("co-trained attack", "attack.harm", {"attacker": "co-trained"}),
    ("fresh attack", "attack.harm", {"attacker": "fresh"}),
    ("distinct queries", "attack.distinct", {}),
    ("critic right", "verdicts.accuracy", {"on": "answers"}),
    ("critic Brier", "verdicts.brier", {"on": "answers"}),
)
"""Heading, metric, tags that it must bear."""


class SummaryLine(NamedTuple):
    """One line of the table: one lineup on one split."""

    who: str
    split: str
    values: dict[str, Metric]
    """Heading → metric."""


class Summary(NamedTuple):
    """Tables and sentence of a run."""

    lines: tuple[SummaryLine, ...]
    leads: dict[str, Metric]
    """Baseline → how much more often the learner is right (test split)."""
    has_learned: bool | None
    """Whether it surely beats both baselines and itself before training; None when one
    side, harmful or benign, was never asked: then nobody can say."""
    improvement: Metric | None
    """Of the share right on both sides, from before training to the end (test split)."""
    asked: tuple[int, int, int] | None = None
    """Harmful, benign and all requests of the test split, where one side is missing."""

    @property
    def sentence(self) -> str:
        """Whether the learner has learned, and the success of a fresh attacker."""
        if self.asked is not None:
            return _no_verdict(*self.asked)
        return " ".join(filter(None, (_verdict(self), self._of_attackers())))

    def _of_attackers(self) -> str:
        """Return the sentence about attacks: first the fresh, then the co-trained attacker."""
        tested = {line.who: line.values for line in self.lines if line.split == "test"}
        fresh_attack, co_trained = (
            tested.get("final", {}).get(f"{kind} attack")
            for kind in ("fresh", "co-trained")
        )
        before = tested.get("before", {}).get("fresh attack")
        if fresh_attack is None:
            return "How a fresh attacker fares was not measured."
        text = (
            f"A fresh attacker finds harm with {_said(fresh_attack)} of its last {fresh_attack.n} valid "
            "queries"
        )
        if before is not None:
            text += f" ({_said(before)} of {before.n} before training)"
        if co_trained is not None:
            text += (
                f"; the one it trained against with {_said(co_trained)} of {co_trained.n}"
            )
        return f"{text}."

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "has_learned": self.has_learned,
            "sentence": self.sentence,
            "improvement": plain_metric(self.improvement),
            "leads": {name: plain_metric(metric) for name, metric in self.leads.items()},
            "notes": {split: self.note(split) for split in self.splits},
            "lines": [
                {
                    "who": line.who,
                    "split": line.split,
                    **{name: plain_metric(metric) for name, metric in line.values.items()},
                }
                for line in self.lines
            ],
        }

    def markdown(self) -> str:
        """Return the tables and the sentence as Markdown."""
        tables = [(self.rows(split), self.note(split)) for split in self.splits]
        return as_markdown("What was learned", self.sentence, tables)

    @property
    def splits(self) -> list[str]:
        """The splits that were measured; the unseen one first."""
        names = dict.fromkeys(line.split for line in self.lines)
        return sorted(names, key=lambda split: split != "test")

    def note(self, split: str) -> str:
        """Return the conditions of measurement of one split."""
        lines = [line.values for line in self.lines if line.split == split]
        return conditions(metric for values in lines for metric in values.values())

    def rows(self, split: str) -> list[list[str]]:
        """Return the table of one split: a heading, then one row for each measure.

        Few columns have room for intervals (± is the wider half); of many, a last one
        says how many observations are behind each line.
        """
        lines = [line for line in self.lines if line.split == split]
        wide = len(lines) <= _MOST_WIDE
        columns = [name for name, _, _ in COLUMNS]
        families = sorted({name for line in lines for name in line.values} - set(columns))
        table = [[f"split {split}", *(line.who for line in lines)]]
        for name in columns + families:
            metrics = [line.values.get(name) for line in lines]
            if any(metrics):
                table.append([name, *(_shown(metric, wide) for metric in metrics)])
                table[-1] += [] if wide else [_counted(metrics)]
        table[0] += [] if wide else ["n"]
        return table


def summarise(metrics: Sequence[Metric]) -> Summary:
    """Return the summary of all evaluation metrics.

    Args:
        metrics: with the tags ``name`` and ``split``.
    """
    by_line: dict[tuple[str, str], list[Metric]] = {}
    for metric in metrics:
        if "who" in metric.tags:
            by_line.setdefault((metric.tags["who"], metric.tags["split"]), []).append(
                metric
            )
    lines = tuple(
        SummaryLine(name, split, _values(rows)) for (name, split), rows in by_line.items()
    )
    leads = {metric.opponent: metric for metric in metrics if metric.name == "lead"}
    gains = [metric for metric in metrics if metric.name == "improvement"]
    improvement = gains[-1] if gains else None
    learned = bool(leads) and all(map(_is_sure, [improvement, *leads.values()]))
    counts = _asked(by_line.get(("final", "test"), []))
    return Summary(lines, leads, None if counts else learned, improvement, counts)


def _asked(metrics: Sequence[Metric]) -> tuple[int, int, int] | None:
    """Return the counts of harmful, benign and other requests; None for both sides."""
    by_truth = {m.tags["truth"]: m for m in metrics if m.name == ASKED}
    if not by_truth:
        return None
    counts = {truth: int(metric.value) for truth, metric in by_truth.items()}
    cases = max(metric.n for metric in by_truth.values())
    return counts.get("harmful", 0), counts.get("benign", 0), cases


def _no_verdict(harmful: int, benign: int, cases: int) -> str:
    """Return a sentence on the missing side, and the remedy."""
    missing = [name for name, n in (("harmful", harmful), ("benign", benign)) if not n]
    cure = (
        f"give the source {' and '.join(missing)} rows of the split 'test' (rows without a "
        "column 'split' are divided by hash), or raise evaluate.cases"
        if len(missing) == 1
        else "use a source of requests that says which of them are harmful"
    )
    return (
        f"No verdict on the learner: of {cases} unseen cases, {harmful} were graded as harmful "
        f"and {benign} as benign requests, and whoever always says the same is right on one "
        f"side. To get one, {cure}."
    )


def _verdict(summary: Summary) -> str:
    """Return a sentence on whether the learner has learned, and its leads."""
    rivals = dict(summary.leads)
    if summary.improvement is not None:
        rivals = {"itself before training": summary.improvement, **rivals}
    ahead = {name: _said(metric, sign=True) for name, metric in rivals.items()}
    n = max((metric.n for metric in rivals.values()), default=0)
    if summary.has_learned:
        beaten = _listed([f"{name} by {lead}" for name, lead in ahead.items()])
        return f"The learner has learned: on {n} unseen requests it beats {beaten}."
    if not rivals:
        return "The learner has NOT learned: no comparison on unseen requests was made."
    opponents = dict.fromkeys(["itself before training", *rivals])
    doubtful = [name for name in opponents if not _is_sure(rivals.get(name))]
    return (
        f"The learner has NOT learned: on {n} unseen requests it does not surely beat "
        f"{_listed(doubtful)}. Its lead is "
        f"{_listed([f'{lead} over {name}' for name, lead in ahead.items()])}."
    )


def _is_sure(ahead: Metric | None) -> bool:
    """Return whether a difference is significantly above zero."""
    return ahead is not None and ahead.low is not None and ahead.low > 0


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def as_markdown(
    title: str, sentence: str, tables: Iterable[tuple[list[list[str]], str]]
) -> str:
    """Return a page with tables, each a heading, rows, and a note below it."""
    parts = [f"# {markdown(title)}", markdown(sentence)]
    for rows, note in tables:
        head, *body = [[markdown(cell) for cell in row] for row in rows]
        parts.append(markdown_table(head, body))
        parts += [markdown(note)] if note else []
    return "\n\n".join(parts) + "\n"


def _shown(metric: Metric | None, wide: bool) -> str:
    if metric is None:
        return ""
    return f"{decimal(metric.value)}{_spread(metric) if wide else ''}"


def _spread(metric: Metric) -> str:
    """Return the wider half of an interval, or that there is none with one observation."""
    if metric.low is None or metric.high is None:
        return " (n=1)" if metric.n == 1 else ""
    return f" ±{decimal(max(metric.value - metric.low, metric.high - metric.value))}"


def _counted(metrics: Iterable[Metric | None]) -> str:
    """Return the number of observations behind metrics: ``200``, ``25–32``."""
    counts = [metric.n for metric in metrics if metric is not None]
    smallest, largest = min(counts), max(counts)
    return str(largest) if smallest == largest else f"{smallest}–{largest}"


def _values(metrics: Sequence[Metric]) -> dict[str, Metric]:
    values: dict[str, Metric] = {}
    for heading, name, tags in COLUMNS:
        for metric in metrics:
            matches = metric.name == name and tags.items() <= metric.tags.items()
            if matches and "kind" not in metric.tags:
                values[heading] = metric
    for metric in metrics:
        if metric.name == "competence":
            values[metric.tags["family"]] = metric
    return values


def plain_metric(metric: Metric | None) -> dict[str, Any] | None:
    """Return value, interval and n as plain JSON values."""
    if metric is None:
        return None
    return {"value": metric.value, "low": metric.low, "high": metric.high, "n": metric.n}


def _said(metric: Metric, *, sign: bool = False) -> str:
    return Estimate(metric.value, metric.low, metric.high, metric.n).said(sign=sign)
