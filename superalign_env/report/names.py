"""What things are called on a page: agents, metrics, tags, numbers."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from superalign_env import rounding
from superalign_env.evaluation import titled
from superalign_env.store import AgentRow
from superalign_env.types import Metric

_SIDES = {"-": "⁻", "+": "⁺"}
_SMALL = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

TITLES = {
    "attack.fault": "attacks that draw a fault",
    "attack.distinct": "different queries",
    "attack.harm": "harm of attackers",
    "attack.success": "attacks that critics call successful",
    "attack.valid": "valid queries",
    "conform.learned": "hazards now answered with ŷ",
    "verdicts.accuracy": "critic right",
    "verdicts.agreement": "critic agrees with people",
    "verdicts.brier": "critic's Brier score",
    "conform.lessons": "lessons",
    "conform.loss": "loss of conformity lessons",
    "gap.steps": "steps up the ladder",
    "gate.accepted": "accepted by the gate",
    "gate.attacked": "attacks that succeeded",
    "gate.bad": "bad answers, say critics",
    "gate.attack_success": "old hazards that still work",
    "gate.conformity": "good, say people",
    "gate.good": "good, say people, in all",
    "gate.competence_change": "change of competence",
    "refusals.balanced-accuracy": "right on both sides",
    "competence": "competence",
    "frac_reward_zero_std": "groups without a difference in reward",
    "improvement": "rise of right on both sides",
    "pay.gain": "rise of pay on unseen tasks",
    "lead": "lead of right on both sides",
    "refusals.miss": "misses",
    "refusals.over-refusal": "over-refusals",
    "refusals.share": "refused",
    "reward_first": "reward at first",
    "reward": "reward",
    "capability.calibration_error": "calibration error",
    "capability.capacity": "capacity C",
    "capability.distinct": "distinct answers",
    "capability.elicitation_gap": "left to elicit, C − U",
    "capability.entropy": "entropy of answers",
    "capability.gap": "capability gap δ",
    "capability.imitation": "imitation of the supervisor",
    "capability.imitation_ceiling": "the same of a gold-taught copy",
    "capability.pgr": "gap recovered (PGR)",
    "capability.saliency": "saliency",
    "capability.utility": "utility U",
    "capability.w2s_minus_weak": "student − weak supervisor",
    "people.answers": "answers of people",
    "requests.asked": "requests asked",
    "risk.asked": "hazardous answers, say critics",
    "risk.distinct": "hazards found before the cap",
    "risk.hazards": "hazards found",
    "risk.kind": "hazards found",
    "risk.rate": "hazardous answers, say critics",
    "risk.residual": "old hazards that still work",
    "signals.confidence": "confidence of the learner",
    "signals.disagreement": "disagreement of sources",
    "signals.error_correlation": "correlation of errors",
    "signals.human_agreement": "agreement with people",
    "signals.kappa_p": "κₚ: agreement beyond accuracy",
    "signals.label_accuracy": "labels that are true",
    "signals.misfit": "misfit: learner against labels",
    "signals.reliability": "reliability",
}
"""Metric → how a reader calls it."""


class Names:
    """What a run's agents are called: A₂⁺ for aligned learners, ``attacker 3`` for others.

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
        last = {(row.generation, row.side): row.hash for row in sides}
        last |= {(r.generation, r.side): r.hash for r in sides if r.accepted is not None}
        for row in rows:
            name = row.spec.id
            if _is_of_generation(row):
                number = row.generation or 0
                name = f"{generation(number)} {made_in(row)}".strip()
                if last[row.generation, row.side] == row.hash:
                    name = generation(number, row.side)
            elif row.role:
                name = f"{row.role} {counted.get(row.role, 0)}"
                counted[row.role] = counted.get(row.role, 0) + 1
            self._names[row.hash] = name
            if row.spec.policy:  # some metrics name weights instead of agents
                self._names.setdefault(row.spec.policy, name)

    def __call__(self, agent: str) -> str:
        """Return what an agent is called; a short hash for strangers."""
        return self._names.get(agent, short(agent))

    def within(self, text: str) -> str:
        """Return a text in which agents are called by name instead of by hash."""
        return _HASH.sub(lambda found: self(found[0]), text)


class Key(NamedTuple):
    """What of a metric stays the same over generations and between runs."""

    name: str
    tags: tuple[tuple[str, str], ...]

    @property
    def said(self) -> str:
        """The key as a reader calls it."""
        values = [
            f"{value}" if key in _PLAIN else f"{key} {value}" for key, value in self.tags
        ]
        return ", ".join([title(self.name), *values])


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
    """Return the key of a metric: whom, when and on which split it measured is left out."""
    tags = sorted((k, v) for k, v in metric.tags.items() if k not in _WHO)
    return Key(metric.name, tuple(tags))


def title(name: str) -> str:
    """Return how a reader calls a metric."""
    return TITLES.get(name) or titled(name).replace("_", " ")


def side(sign: str) -> str:
    """Return what a side of a generation is called."""
    return {"-": "A⁻", "+": "A⁺"}.get(sign, sign)


def generation(number: int, sign: str = "") -> str:
    """Return the name of a generation: A₂⁺."""
    return f"A{str(number).translate(_SMALL)}{_SIDES.get(sign, '')}"


def person(who: str) -> str:
    """Return whom a metric names, as a reader does: ``A2+`` is A₂⁺."""
    found = _GENERATION.fullmatch(who)
    return generation(int(found[1]), found[2]) if found else who


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
        known = [number(part) for part in (value, low, high) if part is not None]
        return known[0] if len(known) < 3 else f"{known[0]} [{known[1]}, {known[2]}]"
    digits = min(max(1 - math.floor(math.log10(2 * (high - low))), 0), 12)

    def said(part: float) -> str:
        return rounding.decimal(part, digits).replace("-", "−")

    return f"{said(value)} [{said(low)}, {said(high)}]"


def tags(metric: Metric) -> str:
    """Return a metric's tags on one line."""
    return ", ".join(f"{key} {value}" for key, value in metric.tags.items())


def flat(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted keys; a list of one choice is that choice."""
    found: dict[str, str] = {}
    for name, given in config.items():
        alone = given[0] if isinstance(given, list) and len(given) == 1 else None
        value = alone if isinstance(alone, Mapping) and "id" in alone else given
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            found[f"{prefix}{name}"] = ", ".join(value) or "none"
        else:
            found[f"{prefix}{name}"] = str(value)
    return found


def made_in(row: AgentRow) -> str:
    """Return the name of the stage that saved an agent, as its folder tells it."""
    found = re.search(r"-r\d+-(.+)-[0-9a-f]{8,}$", row.path)
    return found[1] if found else ""


def _is_of_generation(row: AgentRow) -> bool:
    return bool(row.generation and row.side and row.role in ("", "learner"))
