"""Rewards are named parts with weights; totals are made at reading, never stored.

So a label that arrives late is one more row, and a run can be paid again under other
weights without being played again.
"""

from collections.abc import Iterable, Mapping

from superalign_env.types import Judged, Reward, Role, Seat, Signal, role_of

Weights = Mapping[Role, Mapping[str, float]]
"""role → part → weight. A part that is missing, or weighs 0, is recorded but not paid."""

VETOED = -1.0
"""What a vetoed turn earns, whatever else was said of it."""


def paid(reward: Reward, weights: Weights) -> float | None:
    """Return what a part adds to its seat's pay; None when it is only recorded."""
    weight = weights.get(role_of(reward.seat), {}).get(reward.part, 0.0)
    return weight * reward.value if weight else None


def seat_weights(
    seats: Iterable[Seat], weights: Weights
) -> dict[Seat, Mapping[str, float]]:
    """Return part → weight for every seat and paid part: the lookup of `paid`, done once."""
    paying = {
        role: {part: weight for part, weight in parts.items() if weight}
        for role, parts in weights.items()
    }
    return {seat: paying.get(role_of(seat), {}) for seat in seats}


def totals(parts: Iterable[Reward], weights: Weights) -> dict[Seat, float]:
    """Add up the paid parts of every seat that earned something."""
    sums: dict[Seat, float] = {}
    for reward in parts:
        value = paid(reward, weights)
        if value is not None:
            sums[reward.seat] = sums.get(reward.seat, 0.0) + value
    return sums


def settle(
    parts: Iterable[Reward],
    weights: Weights,
    *,
    authors: Mapping[int, Seat] | None = None,
    signals: Iterable[Signal] = (),
    judged: Iterable[Judged] = (),
) -> dict[tuple[Seat, int], float]:
    """Return the pay of every turn of an episode.

    Human labels enter as the part ``human``. The author of a labelled turn gets
    2·label − 1, so that a shrug (0.5) pays nothing; a critic whose verdict was about
    that turn gets 1 − 2·(score − label)², the Brier score. Several labels of one turn
    are averaged. A veto always wins: the turn earns `VETOED` and nothing else.

    Args:
        parts: the rewards of one episode.
        weights: of its scenario.
        authors: who spoke at each turn; needed only with signals.
        signals: labels and vetoes about turns of this episode.
        judged: facts of this episode.

    Returns:
        (seat, turn) → pay.
    """
    pay: dict[tuple[Seat, int], float] = {}

    def earn(reward: Reward) -> None:
        value = paid(reward, weights)
        if value is not None:
            place = (reward.seat, reward.turn)
            pay[place] = pay.get(place, 0.0) + value

    for reward in parts:
        earn(reward)
    labels, vetoed = _labels(signals)
    for fact in judged:
        if fact.about in labels and fact.score is not None:
            value = 1.0 - 2.0 * (fact.score - labels[fact.about]) ** 2
            earn(Reward(fact.seat, "human", value, fact.turn))
    for turn, seat in (authors or {}).items():
        if turn in vetoed:
            pay[(seat, turn)] = VETOED
        elif turn in labels:
            earn(Reward(seat, "human", 2.0 * labels[turn] - 1.0, turn))
    return pay


def _labels(signals: Iterable[Signal]) -> tuple[dict[int, float], set[int]]:
    """Return the mean label of each labelled turn, and the vetoed turns."""
    values: dict[int, list[float]] = {}
    vetoed: set[int] = set()
    for signal in signals:
        if signal.kind == "veto":
            vetoed.add(signal.turn)
        elif signal.kind == "label":
            values.setdefault(signal.turn, []).append(signal.value)
    return {turn: sum(found) / len(found) for turn, found in values.items()}, vetoed
