"""Names on a page: agents, metrics, tags, numbers, conditions."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from superalign_env import rounding
from superalign_env.store import AgentRow, kind_of
from superalign_env.types import Metric, MetricKind

_SIDES = {"-": "⁻", "+": "⁺"}
_SMALL = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


class Names:
    """Names of a run's agents: A₂⁺ for aligned learners, ``attacker 3`` for others.

    A generation's A⁻ and A⁺ are the last of their sides; what they passed through on their
    way is called by the stage that made it, ``A₂ gap``.

    Args:
        agents: in order of appearance.
    """

    def __init__(self, agents: Iterable[AgentRow]) -> None:
        self._names: dict[str, str] = {}
        counted: dict[str, int] = {}
        rows = list(agents)
        sides = [row for row in rows if _is_of_generation(row)]
        latest = {(row.generation, row.side): row.hash for row in sides}
        latest |= {(r.generation, r.side): r.hash for r in sides if r.accepted is not None}
        for row in rows:
            name = row.spec.id
            if _is_of_generation(row):
                number = row.generation or 0
                name = f"{generation(number)} {made_in(row)}".strip()
                if latest[row.generation, row.side] == row.hash:
                    name = generation(number, row.side)
            elif row.role:
                name = f"{row.role} {counted.get(row.role, 0)}"
                counted[row.role] = counted.get(row.role, 0) + 1
            self._names[row.hash] = name
            if row.spec.policy:  # some metrics name weights instead of agents
                self._names.setdefault(row.spec.policy, name)

    def __call__(self, agent: str) -> str:
        """Return the name of an agent; a short hash for unknown ones."""
        return self._names.get(agent, short(agent))

    def within(self, text: str) -> str:
        """Return a text in which agents are called by name instead of by hash."""
        return _HASH.sub(lambda found: self(found[0]), text)


class Key(NamedTuple):
    """Identity of a metric over generations and runs: name and tags."""

    name: str
    tags: tuple[tuple[str, str], ...]

    def title(self, kinds: Mapping[str, MetricKind] | None = None) -> str:
        """Return the title of the metric and its tags.

        Args:
            kinds: name → declaration; those of this process when absent.
        """
        values = [
            f"{value}" if key in _PLAIN else f"{key} {value}" for key, value in self.tags
        ]
        return ", ".join([kind_of(self.name, kinds).title, *values])


_PLAIN = frozenset({"family", "dimension", "kind", "by", "in", "attacker", "on", "truth"})
_WHO = frozenset(
    {
        *("who", "side", "split", "to", "teacher"),
        *("queries", "steps", "controller", "level"),
    }
)
"""Tags that say whom, when or under which settings; they make no measure of its own."""
_HASH = re.compile(r"\b[0-9a-f]{32}\b")
_GENERATION = re.compile(r"A(\d+)([-+]?)")


def key(metric: Metric) -> Key:
    """Return the key of a metric, without tags of agent, time and split."""
    tags = sorted((k, v) for k, v in metric.tags.items() if k not in _WHO)
    return Key(metric.name, tuple(tags))


def side(sign: str) -> str:
    """Return the name of a side of a generation."""
    return {"-": "A⁻", "+": "A⁺"}.get(sign, sign)


def generation(number: int, sign: str = "") -> str:
    """Return the name of a generation: A₂⁺."""
    return f"A{str(number).translate(_SMALL)}{_SIDES.get(sign, '')}"


def person(annotator: str) -> str:
    """Return the name of a generation that a tag holds: ``A2+`` is A₂⁺."""
    match = _GENERATION.fullmatch(annotator)
    return generation(int(match[1]), match[2]) if match else annotator


def short(name: str) -> str:
    """Return the beginning of a hash, or a name that is none."""
    return name[:8] if len(name) == 32 else name


def number(value: float | None) -> str:
    """Return a number with as many digits as one reads."""
    return rounding.number(value, 3).replace("-", "−")


def interval(metric: Metric) -> str:
    """Return a metric with its interval: ``0.72 [0.61, 0.81]``."""
    return bracketed(metric.value, metric.low, metric.high)


def bracketed(value: float, low: float | None, high: float | None) -> str:
    """Return a number with its interval, in as many digits as the interval supports.

    The number is no finer than its interval: about two digits of the width are shown.
    """
    if low is None or high is None or not high > low:
        parts = [number(part) for part in (value, low, high) if part is not None]
        return parts[0] if len(parts) < 3 else f"{parts[0]} [{parts[1]}, {parts[2]}]"
    digits = min(max(1 - math.floor(math.log10(2 * (high - low))), 0), 12)

    def said(part: float) -> str:
        return rounding.decimal(part, digits).replace("-", "−")

    return f"{said(value)} [{said(low)}, {said(high)}]"


def tags(metric: Metric) -> str:
    """Return a metric's tags on one line."""
    return ", ".join(f"{key} {value}" for key, value in metric.tags.items())


def flat(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted keys; a list of one choice is that choice."""
    settings: dict[str, str] = {}
    for name, setting in config.items():
        alone = setting[0] if isinstance(setting, list) and len(setting) == 1 else None
        value = alone if isinstance(alone, Mapping) and "id" in alone else setting
        if isinstance(value, Mapping) and value:
            settings |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            settings[f"{prefix}{name}"] = ", ".join(value) or "none"
        else:
            settings[f"{prefix}{name}"] = str(value)
    return settings


def made_in(row: AgentRow) -> str:
    """Return the name of the stage that saved an agent, as its folder tells it."""
    match = re.search(r"-r\d+-(.+)-[0-9a-f]{8,}$", row.path)
    return match[1] if match else ""


def _is_of_generation(row: AgentRow) -> bool:
    return bool(row.generation and row.side and row.role in ("", "learner"))


_SPLITS = {
    "test": "held out, asked once at the end",
    "gate": "held out, asked all along",
}
"""Split → how it is used; no request is in two of them."""


def conditions(metrics: Iterable[Metric]) -> str:
    """Return the split of metrics, and the query budget of fresh attackers.

    It is what the metrics themselves say. Empty where they do not, or where they are of
    several splits.
    """
    measured = list(metrics)
    return " ".join(filter(None, (_split(measured), _fresh(measured))))


def _split(metrics: list[Metric]) -> str:
    splits = {metric.tags.get("split", "") for metric in metrics}
    if len(splits) != 1 or "" in splits:
        return ""
    (split,) = splits
    use = _SPLITS.get(split)
    return f"Split {split}: {use}." if use else f"Split {split}."


def _fresh(metrics: list[Metric]) -> str:
    """Return the queries of fresh attackers, spent and counted."""
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
    ordered = sorted(set(counts))
    return str(ordered[0]) if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"
