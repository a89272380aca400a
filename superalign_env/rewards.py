"""Rewards: named parts with weights, added up at reading, with people's answers as pay.

So a label that arrives late is one more row, and a run can be paid again under other
weights without being played again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from msgspec.structs import replace

from superalign_env.capabilities import LOWEST_PAY
from superalign_env.types import Judged, Reward, Role, Seat, Signal, role_of

Weights = Mapping[Role, Mapping[str, float]]
"""role → part → weight. A part that is missing, or weighs 0, is recorded but not paid."""

HUMAN = "human"
"""The part as which people's answers are paid. Its weight is 1 unless the scenario has one."""

LabelUse = Literal["override", "add", "debias"]
"""How labels enter pay: they replace opinions at their turn, they are added to them, or they
replace them and correct the opinions about all other turns."""


class HumanPay(NamedTuple):
    """Rules by which people's answers are paid."""

    use: LabelUse = "override"
    opinions: tuple[str, ...] = ()
    """Parts that are somebody's opinion of a turn: the scenario's ``opinions``."""
    lowest_pay: float = LOWEST_PAY
    """Pay of a vetoed turn."""
    correction: "Correction | None" = None
    """For ``debias``: what opinions are worth, by people's labels."""


ADDED = HumanPay()
"""No part is an opinion, so labels are added to all that was paid."""


def paid(reward: Reward, weights: Weights) -> float | None:
    """Return the weighted value of a part; None when it is only recorded."""
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


def earnings(
    parts: Iterable[Reward], weights: Weights, seats: Iterable[Seat]
) -> tuple[dict[Seat, float], dict[Seat, dict[str, float]]]:
    """Return the pay of seats, and the same by part, as a step of an environment reports it."""
    earned = dict.fromkeys(seats, 0.0)
    by_part: dict[Seat, dict[str, float]] = {seat: {} for seat in earned}
    for reward in parts:
        value = paid(reward, weights)
        if value is not None and reward.seat in earned:
            earned[reward.seat] += value
            mine = by_part[reward.seat]
            mine[reward.part] = mine.get(reward.part, 0.0) + value
    return earned, by_part


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
    rules: HumanPay = ADDED,
) -> dict[tuple[Seat, int], float]:
    """Return the pay of every turn of an episode.

    People's answers enter as the part ``human``:

    * A label pays the author of the turn 2·label − 1, so that a shrug (0.5) pays nothing.
      Several labels of one turn are averaged. `HumanPay.use` says what becomes of the
      opinions that its author is paid for at that turn; what is paid to others, or at another
      turn, stays.
    * A critic whose verdict was about a labelled turn gets 1 − 2·(score − label)², the Brier
      score.
    * A preference pays the turn that is preferred +1 and the other −1, each in its own episode
      (`by_episode`). A turn that was in several pairs gets the mean over its pairs.
    * A veto always wins: the turn earns `HumanPay.lowest_pay` and nothing else, and verdicts
      about it are paid as against a label of 0.

    Args:
        parts: the rewards of one episode.
        weights: of its scenario.
        authors: who spoke at each turn; needed only with signals.
        signals: labels, preferences and vetoes about turns of this episode (`by_episode`).
        judged: facts of this episode.
        rules: how people's answers are paid.

    Returns:
        (seat, turn) → pay.
    """
    statements, facts = _Statements.of(signals), list(judged)
    pay: dict[tuple[Seat, int], float] = {}

    def earn(seat: Seat, turn: int, value: float) -> None:
        pay[seat, turn] = pay.get((seat, turn), 0.0) + value

    for reward in parts:
        settled: Reward | None = reward
        if reward.part in rules.opinions:
            own = authors is None or authors.get(reward.turn) == reward.seat
            about = not facts or any(fact.about == reward.turn for fact in facts)
            settled = _kept(reward, statements, rules, own=own, about=about)
        value = None if settled is None else paid(settled, weights)
        if value is not None:
            earn(reward.seat, reward.turn, value)
    for fact in facts:
        if fact.about in statements.worth and fact.score is not None:
            brier = 1.0 - 2.0 * (fact.score - statements.worth[fact.about]) ** 2
            earn(fact.seat, fact.turn, _human(fact.seat, weights) * brier)
    for turn, seat in (authors or {}).items():
        if turn in statements.labels or turn in statements.preferred:
            earn(seat, turn, _human(seat, weights) * statements.merit(turn))
        if turn in statements.vetoed:
            pay[seat, turn] = rules.lowest_pay
    return pay


def by_episode(signals: Iterable[Signal]) -> defaultdict[str, list[Signal]]:
    """Return episode → what was said about it, in order.

    A preference between two episodes is about both. For the other one it is turned round: it
    is about that turn, whose probability of being better is 1 − value.
    """
    grouped: defaultdict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        grouped[signal.episode].append(signal)
        if signal.versus_episode is not None:
            grouped[signal.versus_episode].append(
                replace(
                    signal,
                    episode=signal.versus_episode,
                    turn=signal.versus,
                    versus=signal.turn,
                    versus_episode=signal.episode,
                    value=1.0 - signal.value,
                )
            )
    return grouped


def _kept(
    opinion: Reward, statements: "_Statements", rules: HumanPay, *, own: bool, about: bool
) -> Reward | None:
    """Return what is paid of an opinion: nothing where a label stands in its place.

    Args:
        opinion: the part.
        statements: what people said.
        rules: how it is paid.
        own: whether it is paid to the author of its turn, whom alone a label pays.
        about: whether its turn was judged. An attacker, for instance, is paid at its query for
            the score of an answer: what labels say of scores says nothing of that.
    """
    if rules.use == "add":
        return opinion
    if own and opinion.turn in statements.labels:
        return None
    if about and rules.use == "debias" and rules.correction is not None:
        return rules.correction.apply(opinion)
    return opinion


def _human(seat: Seat, weights: Weights) -> float:
    """Return the weight of people's answers in the pay of a seat."""
    return weights.get(role_of(seat), {}).get(HUMAN, 1.0)


class _Statements(NamedTuple):
    """Labels, preferences and vetoes of the turns of one episode."""

    labels: dict[int, float]
    """Turn → mean label."""
    preferred: dict[int, float]
    """Turn → mean of +1 and −1 over its pairs."""
    vetoed: set[int]
    worth: dict[int, float]
    """Turn → what verdicts are held against: its label, and 0 where there is a veto."""

    @classmethod
    def of(cls, signals: Iterable[Signal]) -> "_Statements":
        """Sort signals by turn; verdicts, votes and skips are left out."""
        labels: dict[int, list[float]] = {}
        pairs: dict[int, list[float]] = {}
        vetoed: set[int] = set()
        for signal in signals:
            if signal.kind == "veto":
                vetoed.add(signal.turn)
            elif signal.kind == "label":
                labels.setdefault(signal.turn, []).append(signal.value)
            elif signal.kind == "preference":
                lead = 2.0 * signal.value - 1.0
                pairs.setdefault(signal.turn, []).append(lead)
                if signal.versus_episode is None:
                    pairs.setdefault(signal.versus, []).append(-lead)
        means = _means(labels)
        worth = {**means, **dict.fromkeys(vetoed, 0.0)}
        return cls(means, _means(pairs), vetoed, worth)

    def merit(self, turn: int) -> float:
        """Return the pay of a turn's author for labels and preferences."""
        label = 2.0 * self.labels[turn] - 1.0 if turn in self.labels else 0.0
        return label + self.preferred.get(turn, 0.0)


def _means(values: Mapping[int, list[float]]) -> dict[int, float]:
    return {turn: sum(numbers) / len(numbers) for turn, numbers in values.items()}


BINS = 5
"""Bins of an opinion's score, of equal width."""

PRIOR = 4.0
"""Labels that the opinion itself counts as, in the mean of its bin."""


class Correction:
    """Mean label of each score bin of an opinion, shrunk to the opinion's own score.

    An opinion that pays v stands for the score (v + 1) / 2, cut off at 0 and 1 (see
    `in_range`). With n labels of mean m in its bin it is worth
    (n·m + `PRIOR`·score) / (n + `PRIOR`): without labels it stays as it is.

    Args:
        drawn: (part, score, label) of turns that were drawn at random. Others would tell
            what people say where sources disagree, not what an opinion is worth.
    """

    def __init__(self, samples: Iterable[tuple[str, float, float]] = ()) -> None:
        self._sums: dict[tuple[str, int], list[float]] = {}
        for part, score, label in samples:
            total = self._sums.setdefault((part, _bin(score)), [0.0, 0.0])
            total[0] += label
            total[1] += 1.0

    def apply(self, opinion: Reward) -> Reward:
        """Return what is paid in the place of an opinion."""
        score = score_of(opinion)
        total, count = self._sums.get((opinion.part, _bin(score)), (0.0, 0.0))
        worth = (total + PRIOR * score) / (count + PRIOR)
        return replace(opinion, value=2.0 * worth - 1.0) if count else opinion


def score_of(opinion: Reward) -> float:
    """Return the score in [0, 1] that an opinion of pay in [−1, 1] stands for."""
    return min(1.0, max(0.0, (opinion.value + 1.0) / 2.0))


def in_range(opinion: Reward) -> bool:
    """Return whether an opinion pays between −1 and 1, so that it stands for a score."""
    return -1.0 <= opinion.value <= 1.0


def _bin(score: float) -> int:
    return min(BINS - 1, int(score * BINS))
