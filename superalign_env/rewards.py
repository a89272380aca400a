"""Rewards are named parts with weights; totals are made at reading, never stored.

So a label that arrives late is one more row, and a run can be paid again under other
weights without being played again.
"""

from collections.abc import Iterable, Mapping

from superalign_env.types import Reward, Role, Seat, Signal, role_of

Weights = Mapping[Role, Mapping[str, float]]
"""role → part → weight. A part that is missing, or weighs 0, is recorded but not paid."""

VETOED = -1.0
"""What a vetoed turn earns, whatever else was said of it."""


def paid(reward: Reward, weights: Weights) -> float | None:
    """Return what a part adds to its seat's pay; None when it is only recorded."""
    weight = weights.get(role_of(reward.seat), {}).get(reward.part, 0.0)
    return weight * reward.value if weight else None


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
) -> dict[tuple[Seat, int], float]:
    """Return the pay of every turn of an episode.

    Human labels enter as the part ``human`` of the turn's author, worth 2·value − 1 so
    that a shrug (0.5) pays nothing; several labels of one turn are averaged. A veto
    always wins: the turn earns `VETOED` and nothing else.

    Args:
        parts: the rewards of one episode.
        weights: of its scenario.
        authors: who spoke at each turn; needed only with signals.
        signals: labels and vetoes about turns of this episode.

    Returns:
        (seat, turn) → pay.
    """
    pay: dict[tuple[Seat, int], float] = {}
    for reward in parts:
        value = paid(reward, weights)
        if value is not None:
            place = (reward.seat, reward.turn)
            pay[place] = pay.get(place, 0.0) + value
    labels: dict[int, list[float]] = {}
    vetoed: set[int] = set()
    for signal in signals:
        if signal.kind == "veto":
            vetoed.add(signal.turn)
        elif signal.kind == "label":
            labels.setdefault(signal.turn, []).append(signal.value)
    for turn, seat in (authors or {}).items():
        if turn in vetoed:
            pay[(seat, turn)] = VETOED
        elif turn in labels:
            mean = sum(labels[turn]) / len(labels[turn])
            value = paid(Reward(seat, "human", 2.0 * mean - 1.0, turn), weights)
            if value is not None:
                pay[(seat, turn)] = pay.get((seat, turn), 0.0) + value
    return pay
