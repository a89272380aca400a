"""Aggregation of several sources' votes into one answer for each item.

Votes are a table, items × sources, of categorical answers; None where a source said
nothing. A source is a column: its name is never known here, so none can be favoured by
it. Equal votes are decided by a hash of the item and the answer, which is the same in every
run, and over many items favours neither a source nor an answer.
"""

import hashlib
from collections.abc import Sequence
from math import exp, fsum, log
from typing import NamedTuple

from superalign_env.errors import InvalidOption

Row = Sequence[str | None]
"""What each source says of one item."""

Votes = Sequence[Row]
"""Items × sources."""

Sureness = Sequence[Sequence[float | None]]
"""Items × sources: the probability with which a source gives its answer; None is 1."""

_SURE = 1e-9
"""Shares of votes that differ by less are a tie."""

_BOUND = 0.99
"""No source counts as more reliable, nor as more unreliable than 1 minus this."""


class Combined(NamedTuple):
    """Aggregated answers of N items, and reliabilities of S sources."""

    answers: tuple[str | None, ...]
    """[N]; None where nobody said anything."""
    confidence: tuple[float, ...]
    """[N] in [0, 1]: of the answer, by the rule's own lights; 0 where there is none."""
    reliability: tuple[float | None, ...]
    """[S] in [0, 1]: the share of its answers that are right, by the rule's own lights;
    None for a source that said nothing."""


def majority(
    votes: Votes, *, sureness: Sureness | None = None, items: Sequence[str] = ()
) -> Combined:
    """Return majority answers; the confidence is the share of the votes.

    Args:
        votes: items × sources.
        sureness: how sure each vote is; what is left of it goes to the other answers that
            were given to the item, in equal parts. Without it every vote is sure.
        items: [N] names that decide equal votes; their numbers without them.

    Raises:
        InvalidOption: a table that is none, or a sureness outside [0, 1].
    """
    width = _check(votes, sureness, items)
    return _voted(votes, [1.0] * width, sureness, items)


def recency_weighted(
    votes: Votes,
    *,
    growth: float = 2.0,
    sureness: Sureness | None = None,
    items: Sequence[str] = (),
) -> Combined:
    """Return the vote in which source i counts `growth` to the i-th, the oldest first.

    The vote of all ancestors. With sure votes and a growth of 2 the youngest that speaks
    always wins, for the older ones together count less; they are heard where it is unsure
    (`sureness`), where it is silent, in the confidence, or at a smaller growth.

    Args:
        votes: items × sources, oldest source first.
        growth: how much more each source counts than the one before it; above zero.
        sureness: as in `majority`.
        items: as in `majority`.

    Raises:
        InvalidOption: as `majority`, or a growth that is not above zero.
    """
    if not growth > 0:
        raise InvalidOption(f"growth={growth}; take a number above zero, 1 for equal votes")
    width = _check(votes, sureness, items)
    # Counted down from the youngest, so that long chains do not overflow.
    weights = [growth ** (i - width + 1) for i in range(width)]
    return _voted(votes, weights, sureness, items)


def weighted(
    votes: Votes,
    reliability: Sequence[float],
    *,
    categories: int | None = None,
    items: Sequence[str] = (),
) -> Combined:
    """Return the likeliest answers when reliabilities are known and errors independent.

    Each vote counts the log-odds of its source (the optimal rule of Nitzan and Paroush
    1982); a source that is worse than guessing speaks against its answer.

    Args:
        votes: items × sources.
        reliability: [S] probability that a source is right, in [0, 1]; beyond 0.99 and
            below 0.01 none is believed.
        categories: how many answers are possible; as many as the table holds, and at
            least two, without it.
        items: as in `majority`.

    Raises:
        InvalidOption: as `majority`, or not one reliability for each source.
    """
    width = _check(votes, None, items)
    if len(reliability) != width:
        raise InvalidOption(
            f"{len(reliability)} reliabilities for {width} sources; give one for each"
        )
    for value in reliability:
        if not 0.0 <= value <= 1.0:
            raise InvalidOption(f"a reliability of {value} is no probability")
    possible = count_categories(votes) if categories is None else categories
    if possible < 2:
        raise InvalidOption(f"categories={possible}; one answer leaves nothing to decide")
    bounded = [min(max(value, 1.0 - _BOUND), _BOUND) for value in reliability]
    beliefs = [believe(row, bounded, possible) for row in votes]
    return settle(votes, beliefs, items)


def believe(row: Row, reliability: Sequence[float], categories: int) -> dict[str, float]:
    """Return answer → probability for one item, from independent votes.

    A source is right with its reliability, and otherwise says each of the other
    `categories` − 1 answers equally often. Answers that nobody gave keep their share, so
    the probabilities of those that were given may come to less than 1.
    """
    votes = [(a, r) for a, r in zip(row, reliability, strict=True) if a is not None]
    answers = list(dict.fromkeys(answer for answer, _ in votes))
    if not answers:
        return {}
    rest = max(categories - 1, len(answers) - 1, 1)
    # Relative to an answer that nobody gave.
    odds = {
        answer: fsum(log(r * rest / (1.0 - r)) for said_, r in votes if said_ == answer)
        for answer in answers
    }
    top = max(0.0, *odds.values())
    mass = {answer: exp(value - top) for answer, value in odds.items()}
    unsaid = max(0, rest + 1 - len(answers)) * exp(-top)
    total = fsum([*mass.values(), unsaid])
    return {answer: value / total for answer, value in mass.items()}


def settle(
    votes: Votes,
    beliefs: Sequence[dict[str, float]],
    items: Sequence[str] = (),
    reliability: Sequence[float | None] | None = None,
) -> Combined:
    """Return the likeliest answer of each item.

    Args:
        votes: items × sources.
        beliefs: answer → probability, for each item.
        items: names that decide equal probabilities; numbers without them.
        reliability: [S]; without it, the mean probability of what a source said.
    """
    answers: list[str | None] = []
    confidence: list[float] = []
    for place, belief in enumerate(beliefs):
        name = items[place] if items else str(place)
        answer = likeliest(belief, name)
        answers.append(answer)
        confidence.append(min(1.0, max(0.0, belief[answer])) if answer is not None else 0.0)
    if reliability is None:
        width = len(votes[0]) if votes else 0
        reliability = [_believed(votes, beliefs, source) for source in range(width)]
    return Combined(tuple(answers), tuple(confidence), tuple(reliability))


def likeliest(belief: dict[str, float], item: str) -> str | None:
    """Return the likeliest answer; of equal ones the one with the smallest hash."""
    if not belief:
        return None
    top = max(belief.values())
    tied = [answer for answer, value in belief.items() if value >= top - _SURE]
    if len(tied) == 1:
        return tied[0]
    return min(tied, key=lambda answer: (_hash(item, answer), answer))


def count_categories(votes: Votes) -> int:
    """Return the number of different answers of a table, at least two."""
    return max(2, len({a for row in votes for a in row if a is not None}))


def check_table(votes: Votes, items: Sequence[str] = ()) -> int:
    """Return the number of sources.

    Raises:
        InvalidOption: rows of different lengths, or names for other items.
    """
    return _check(votes, None, items)


def _voted(
    votes: Votes,
    weights: Sequence[float],
    sureness: Sureness | None,
    items: Sequence[str],
) -> Combined:
    beliefs = []
    for place, row in enumerate(votes):
        sure = sureness[place] if sureness is not None else [None] * len(row)
        beliefs.append(_shares(row, weights, sure))
    return settle(votes, beliefs, items)


def _shares(
    row: Row, weights: Sequence[float], sure: Sequence[float | None]
) -> dict[str, float]:
    """Return answer → its share of the votes on one item."""
    votes = [
        (answer, weight, 1.0 if p is None else p)
        for answer, weight, p in zip(row, weights, sure, strict=True)
        if answer is not None
    ]
    answers = list(dict.fromkeys(answer for answer, _, _ in votes))
    total = fsum(weight for _, weight, _ in votes)
    others = max(1, len(answers) - 1)
    # `fsum` is exact: the order of the sources cannot make or break a tie.
    return {
        answer: fsum(
            weight * (p if said_ == answer else (1.0 - p) / others)
            for said_, weight, p in votes
        )
        / total
        for answer in answers
    }


def _believed(
    votes: Votes, beliefs: Sequence[dict[str, float]], source: int
) -> float | None:
    answers_here = [
        belief[answer]
        for row, belief in zip(votes, beliefs, strict=True)
        if (answer := row[source]) is not None
    ]
    return min(1.0, fsum(answers_here) / len(answers_here)) if answers_here else None


def _check(votes: Votes, sureness: Sureness | None, items: Sequence[str]) -> int:
    widths = {len(row) for row in votes}
    if len(widths) > 1:
        raise InvalidOption(
            f"rows of {sorted(widths)} votes are no table; write None where a source said "
            "nothing"
        )
    if items and len(items) != len(votes):
        raise InvalidOption(f"{len(items)} names for {len(votes)} items; give one for each")
    if sureness is not None:
        if [len(row) for row in sureness] != [len(row) for row in votes]:
            raise InvalidOption("sureness must have one number, or None, for each vote")
        for p in (p for row in sureness for p in row if p is not None):
            if not 0.0 <= p <= 1.0:
                raise InvalidOption(f"a sureness of {p} is no probability")
    return widths.pop() if widths else 0


def _hash(item: str, answer: str) -> bytes:
    return hashlib.blake2b(f"{item}\0{answer}".encode(), digest_size=8).digest()
