"""Dawid–Skene: answers and reliabilities estimated together, from agreement alone (1979).

Sources that agree with those that agree with the others must be right more often: nobody
needs to know the truth. What that rests on is that errors are independent given the truth;
where all sources share a blind spot it is as blind as they are, and surer of it.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from superalign_env.errors import InvalidOption
from superalign_env.measures.aggregation import (
    Combined,
    Votes,
    believe,
    check_table,
    count_categories,
    settle,
)

Numbers = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


class DawidSkene(NamedTuple):
    """Estimated answers of N items and reliabilities of S sources, and whether EM converged."""

    answers: tuple[str | None, ...]
    """[N]; None where nobody said anything."""
    confidence: tuple[float, ...]
    """[N] posterior probability of the answer; 0 where there is none."""
    reliability: tuple[float | None, ...]
    """[S] estimated probability of being right; None for a source that said nothing."""
    converged: bool
    """Whether the last step moved no probability by more than the tolerance."""
    steps: int
    """Of expectation and maximisation."""

    @property
    def combined(self) -> Combined:
        """The same without how it was reached."""
        return Combined(self.answers, self.confidence, self.reliability)


def dawid_skene(
    votes: Votes,
    *,
    categories: Sequence[str] | None = None,
    overlap: int = 1,
    items: Sequence[str] = (),
    tolerance: float = 1e-6,
    most_steps: int = 200,
) -> DawidSkene:
    """Estimate answers and reliabilities by expectation maximisation.

    It starts from the shares of the vote, which also settles which of the mirrored
    solutions is found: sources are taken to be right more often than not.

    Args:
        votes: items × sources.
        categories: every answer that is possible. With them a source has a confusion
            matrix (what it says, for each truth), so a source that errs on one side only
            is seen through. Without them it has one reliability, and errors fall on the
            other answers in equal parts: for open questions, and for few items.
        overlap: items that two sources must both have answered to be compared.
        items: names that decide equal probabilities; numbers without them.
        tolerance: largest change of a probability at which it has converged.
        most_steps: after which it ends, converged or not.

    Raises:
        InvalidOption: fewer than three sources that overlap on items, a table that is
            none, or an answer that is no category.
    """
    width = check_table(votes, items)
    _check_overlap(votes, width, overlap)
    if categories is None:
        return _one_coin(votes, width, items, tolerance, most_steps)
    return _confused(votes, width, _read(categories, votes), items, tolerance, most_steps)


def overlapping(votes: Votes, overlap: int = 1) -> tuple[int, ...]:
    """Return the sources that are in a trio of which any two share items.

    Args:
        votes: items × sources.
        overlap: how many items two sources must share.

    Returns:
        Columns, ascending; empty where Dawid–Skene cannot tell who is right.
    """
    width = check_table(votes)
    shared = _shared(votes, width) >= overlap
    items: set[int] = set()
    for a, b, c in combinations(range(width), 3):
        if shared[a, b] and shared[b, c] and shared[a, c]:
            items.update((a, b, c))
    return tuple(sorted(items))


def _one_coin(
    votes: Votes, width: int, items: Sequence[str], tolerance: float, most_steps: int
) -> DawidSkene:
    possible = count_categories(votes)
    beliefs = _started(votes)
    reliability, steps, moved = [0.5] * width, 0, 1.0
    while moved > tolerance and steps < most_steps:
        reliability = [_one_reliability(votes, beliefs, s) for s in range(width)]
        after = [believe(row, reliability, possible) for row in votes]
        moved = max(
            (
                abs(belief[a] - before[a])
                for belief, before in zip(after, beliefs, strict=True)
                for a in belief
            ),
            default=0.0,
        )
        beliefs, steps = after, steps + 1
    return _done(votes, beliefs, reliability, items, moved <= tolerance, steps)


def _one_reliability(
    votes: Votes, beliefs: Sequence[dict[str, float]], source: int
) -> float:
    """Return the expected share of right answers, one right and one wrong added."""
    agreements = [
        belief[answer]
        for row, belief in zip(votes, beliefs, strict=True)
        if (answer := row[source]) is not None
    ]
    return (sum(agreements) + 1.0) / (len(agreements) + 2.0)


def _confused(
    votes: Votes,
    width: int,
    categories: Sequence[str],
    items: Sequence[str],
    tolerance: float,
    most_steps: int,
) -> DawidSkene:
    place = {answer: number for number, answer in enumerate(categories)}
    # [N, S]: number of the answer, −1 where there is none.
    places = np.array(
        [[-1 if a is None else place[a] for a in row] for row in votes], np.int64
    ).reshape(len(votes), width)
    belief = np.zeros((len(votes), len(categories)))
    for row, start in enumerate(_started(votes)):
        for answer, share in start.items():
            belief[row, place[answer]] = share
        belief[row] = belief[row] if start else 1.0 / len(categories)
    voted: Mask = np.any(places >= 0, axis=1)
    steps, moved = 0, 1.0
    confusion, prior = _confusions(places, belief, voted)
    while moved > tolerance and steps < most_steps:
        confusion, prior = _confusions(places, belief, voted)
        after = _posterior(places, confusion, prior)
        moved = float(np.abs(after - belief).max(initial=0.0))
        belief, steps = after, steps + 1
    accuracy = np.einsum("sjj,j->s", confusion, prior)
    beliefs = [
        {a: float(p) for a, p in zip(categories, row, strict=True)} if has_vote else {}
        for row, has_vote in zip(belief, voted, strict=True)
    ]
    return _done(votes, beliefs, accuracy.tolist(), items, moved <= tolerance, steps)


def _confusions(places: Places, belief: Numbers, voted: Mask) -> tuple[Numbers, Numbers]:
    """Return the confusion matrices of sources, [S, J, J], and the classes' shares [J].

    Every cell is given a start of one observation spread over its row, so that what never
    happened is not held impossible.
    """
    classes = belief.shape[1]
    indicator = (places[:, :, None] == np.arange(classes)).astype(np.float64)
    counts = np.einsum("nj,nsl->sjl", belief, indicator) + 1.0 / classes
    prior = belief[voted].sum(axis=0) + 1.0
    return counts / counts.sum(axis=2, keepdims=True), prior / prior.sum()


def _posterior(places: Places, confusion: Numbers, prior: Numbers) -> Numbers:
    """Return the probabilities [N, J] of the truth, given all answers."""
    logs = np.log(confusion)
    belief = np.tile(np.log(prior), (len(places), 1))
    for source in range(places.shape[1]):
        rows = places[:, source] >= 0
        belief[rows] += logs[source].T[places[rows, source]]
    belief -= belief.max(axis=1, keepdims=True)
    odds = np.exp(belief)
    posterior: Numbers = odds / odds.sum(axis=1, keepdims=True)
    return posterior


def _started(votes: Votes) -> list[dict[str, float]]:
    """Return answer → share of the votes, for each item."""
    rows = []
    for row in votes:
        answers = [answer for answer in row if answer is not None]
        rows.append({a: answers.count(a) / len(answers) for a in dict.fromkeys(answers)})
    return rows


def _done(
    votes: Votes,
    beliefs: Sequence[dict[str, float]],
    reliability: Sequence[float],
    items: Sequence[str],
    converged: bool,
    steps: int,
) -> DawidSkene:
    has_voted = [any(row[s] is not None for row in votes) for s in range(len(reliability))]
    reliabilities = [
        r if ok else None for r, ok in zip(reliability, has_voted, strict=True)
    ]
    return DawidSkene(*settle(votes, beliefs, items, reliabilities), converged, steps)


def _check_overlap(votes: Votes, width: int, overlap: int) -> None:
    if overlap < 1:
        raise InvalidOption(f"overlap={overlap}; sources must share at least one item")
    if width < 3:
        raise InvalidOption(
            f"Dawid–Skene with {width} source{'' if width == 1 else 's'} cannot tell who is "
            "right; add sources until there are three, or combine by majority or weighted"
        )
    if len(overlapping(votes, overlap)) < 3:
        largest = int(np.triu(_shared(votes, width), 1).max(initial=0))
        raise InvalidOption(
            f"no three of {width} sources overlap: any two of them must both have answered "
            f"at least {overlap} of the same items, and no two share more than {largest}; let "
            "several sources label the same items (a higher overlap, less dropout), or "
            "combine by majority or weighted"
        )


def _shared(votes: Votes, width: int) -> Places:
    """Return the number of items that two sources have both answered, [S, S]."""
    voted = np.array([[a is not None for a in row] for row in votes], np.int64)
    voted = voted.reshape(len(votes), width)
    overlap: Places = voted.T @ voted
    return overlap


def _read(categories: Sequence[str], votes: Votes) -> tuple[str, ...]:
    """Return the categories, none of them twice.

    Raises:
        InvalidOption: fewer than two, or an answer that is none of them.
    """
    labels = tuple(dict.fromkeys(categories))
    if len(labels) < 2:
        raise InvalidOption("categories: name at least two answers that are possible")
    strange = sorted({a for row in votes for a in row if a is not None} - set(labels))
    if strange:
        raise InvalidOption(
            f"{', '.join(strange[:5])} {'are' if len(strange) > 1 else 'is'} no category; "
            "name every possible answer, or leave categories out"
        )
    return labels
