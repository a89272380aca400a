"""Settings of a league, and sampling rules of opponents."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, NonNegativeFloat

from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.types import Role
from superalign_training.sections import Count, Section, Share


class Pairing(NamedTuple):
    """Two roles whose checkpoints meet."""

    role: Role
    """Whose wins are counted: the rows of a matrix."""
    against: Role
    """The columns."""


class WinRate(NamedTuple):
    """Win rate of a checkpoint against the current opponent, and its games."""

    share: float
    n: int
    """Games behind it."""


SEARCH_SHARE = 0.5
"""Share of the search in attacked training episodes of other roles; the rest is the attacker's."""


def latest(
    names: Sequence[str], beaten: Mapping[str, WinRate], power: float
) -> list[float]:
    """Sample the newest checkpoint only."""
    return [0.0] * (len(names) - 1) + [1.0]


def uniform(
    names: Sequence[str], beaten: Mapping[str, WinRate], power: float
) -> list[float]:
    """Sample all checkpoints equally often."""
    return [1.0] * len(names)


def prioritised(
    names: Sequence[str], beaten: Mapping[str, WinRate], power: float
) -> list[float]:
    """Sample checkpoints the more often, the more often they win.

    Prioritised fictitious self-play: an opponent B of A is met in proportion to
    (1 − P[A beats B])^p (Vinyals et al. 2019, Nature 575, Methods; f_hard, p = 2 in their
    code). 1 − P is how often B beats A, here (wins + 1) / (games + 2): one that was never
    played counts one half, and nobody who lost a few games is never met again.
    """
    records = [beaten.get(name, WinRate(0.5, 0)) for name in names]
    return [((b.share * b.n + 1.0) / (b.n + 2.0)) ** power for b in records]


Rule = Callable[[Sequence[str], Mapping[str, WinRate], float], list[float]]

RULES: dict[str, Rule] = {
    "latest": latest,
    "uniform": uniform,
    "prioritised": prioritised,
}
"""Name → rule. Oldest member first; weights of any positive scale."""


def check_rule(rule: str) -> str:
    """Return a known rule's name.

    Raises:
        UnknownId: no such rule; names the nearest ones.
    """
    if rule not in RULES:
        raise UnknownId("sampling rule", rule, RULES)
    return rule


def shares(
    rule: str,
    names: Sequence[str],
    *,
    beaten: Mapping[str, WinRate] | None = None,
    power: float = 2.0,
    max_opponents: int | None = None,
) -> dict[str, float]:
    """Return the sampling share of each checkpoint, together 1; those with share 0 are left out.

    Args:
        rule: of `RULES`.
        names: of the checkpoints, oldest first.
        beaten: how often each of them beat the current opponent; only `prioritised` asks.
        power: exponent of `prioritised`.
        max_opponents: keep only so many, those with the largest shares; newer ones where equal.

    Raises:
        UnknownId: no such rule.
        InvalidOption: an empty league, or a power that is no number ≥ 0.
    """
    weigh = RULES[check_rule(rule)]
    if not names:
        raise InvalidOption(
            "the league is empty: no checkpoint was kept yet; play a round first, or set the "
            "league's share to 0"
        )
    if not 0.0 <= power < float("inf"):
        raise InvalidOption(f"power must be a number ≥ 0, not {power}")
    weights = weigh(names, beaten or {}, power)
    order = sorted(range(len(names)), key=lambda place: (-weights[place], -place))
    places = {place for place in order[:max_opponents] if weights[place] > 0.0}
    total = sum(weights[place] for place in places)
    return {name: weights[i] / total for i, name in enumerate(names) if i in places}


def _known(rule: str) -> str:
    """Check the rule's name; validator of a settings field."""
    try:
        return check_rule(rule)
    except UnknownId as error:
        raise ValueError(str(error)) from error


class LeagueSettings(Section):
    """Past checkpoints as opponents, and their win matrix."""

    share: Share = 0.0
    """Share of cases that are played against past checkpoints of each other role; 0: none."""
    sampling: Annotated[str, AfterValidator(_known)] = "prioritised"
    """Which of them: `latest`, `uniform` or `prioritised`."""
    sampling_power: NonNegativeFloat = 2.0
    """Exponent of `prioritised`: 0 is uniform, large ones meet only the hardest."""
    max_opponents: Count = 8
    """Checkpoints that are met in one stage: those with the largest shares."""
    cases: Count = 64
    """Fixed cases of one cell of the matrix."""
