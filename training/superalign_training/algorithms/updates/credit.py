"""Assign advantages of an episode to the tokens of its rows.

A chat template that drops earlier thoughts cuts an episode into several rows. It is one
episode all the same: the last decision of a row is followed by the first of the next.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from superalign_training.algorithms.updates.advantages import gae, truncated_weights
from superalign_training.data import Row

Level = Literal["turn", "token"]
"""What is judged as one decision."""

Numbers = Sequence[Sequence[float]]
"""For every row one number for every token of its completion."""


class Decision(NamedTuple):
    """Some own tokens that are judged as one."""

    row: int
    begin: int
    end: int
    reward: float
    """Earned before the next decision."""


class Gae(NamedTuple):
    """For every row one number for every token of its completion."""

    advantages: list[list[float]]
    returns: list[list[float]]
    """What the value before a decision should have been; only where one begins."""
    starts: list[list[float]]
    """1.0 where a decision begins."""


def chains(rows: Sequence[Row], level: Level) -> list[list[Decision]]:
    """Return the decisions of every (episode, seat), in the order they were made."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        found[row.episode, row.seat].append(place)
    return [
        [
            decision
            for place in sorted(places, key=lambda place: rows[place].turns[0])
            for decision in _decisions(rows[place], place, level)
        ]
        for places in found.values()
    ]


def gae_of_rows(
    rows: Sequence[Row],
    values: Numbers,
    *,
    level: Level,
    gamma: float,
    gae_lambda: float,
    log_ratios: Numbers | None = None,
    cap: float = 1.0,
) -> Gae:
    """Return advantages and returns of every token by generalised advantage estimation.

    All tokens of a turn share its advantage, if a decision is a turn.

    Args:
        rows: all rows of their episodes; in any order.
        values: before each token.
        level: what a decision is.
        gamma: discount, of one decision to the next.
        gae_lambda: 0 trusts the values, 1 the rewards.
        log_ratios: of each token, how much likelier it is now than when it was said; None:
            the same weights said it.
        cap: where importance weights are cut off.
    """
    given = Gae(_zeros(rows), _zeros(rows), _zeros(rows))
    for chain in chains(rows, level):
        ratios = None
        if log_ratios is not None:
            ratios = _ratios(chain, log_ratios)
        advantages, returns = gae(
            [decision.reward for decision in chain],
            [values[decision.row][decision.begin] for decision in chain],
            gamma=gamma,
            gae_lambda=gae_lambda,
            ratios=ratios,
            cap=cap,
        )
        for decision, advantage, return_ in zip(chain, advantages, returns, strict=True):
            _fill(given.advantages, decision, advantage)
            given.returns[decision.row][decision.begin] = return_
            given.starts[decision.row][decision.begin] = 1.0
    return given


def by_turn(rows: Sequence[Row], advantages: Numbers) -> list[list[float]]:
    """Return one advantage for every token from one for every turn."""
    spread = _zeros(rows)
    for place, row in enumerate(rows):
        for (begin, end), advantage in zip(row.spans, advantages[place], strict=True):
            spread[place][begin:end] = [advantage] * (end - begin)
    return spread


def weighed(
    rows: Sequence[Row], advantages: Numbers, log_ratios: Numbers, cap: float
) -> list[list[float]]:
    """Return one advantage for every turn, times the turn's truncated importance weight."""
    return [
        [
            advantage * weight
            for advantage, weight in zip(
                advantages[place],
                truncated_weights(
                    [math.fsum(log_ratios[place][begin:end]) for begin, end in row.spans],
                    cap,
                ),
                strict=True,
            )
        ]
        for place, row in enumerate(rows)
    ]


def log_ratios(rows: Sequence[Row], now: Numbers) -> list[list[float]]:
    """Return how much likelier each own token is now than when it was said.

    What the newest weights have just said counts as it is.

    Args:
        rows: with recorded log-probabilities.
        now: log-probabilities of their tokens under the newest weights.
    """
    return [
        [
            new - old if own and row.origin != "live" else 0.0
            for new, old, own in zip(numbers, row.logprobs, row.env_mask, strict=False)
        ]
        for numbers, row in zip(now, rows, strict=True)
    ]


def must_weigh(rows: Sequence[Row], cap: float | None) -> bool:
    """Return whether importance weights change anything: some rows are not live."""
    return cap is not None and any(row.origin != "live" for row in rows)


def _decisions(row: Row, place: int, level: Level) -> Iterable[Decision]:
    for (begin, end), reward in zip(row.spans, row.turn_rewards, strict=True):
        if level == "turn":
            yield Decision(place, begin, end, reward)
            continue
        for token in range(begin, end):
            last = token == end - 1
            yield Decision(place, token, token + 1, reward if last else 0.0)


def _ratios(chain: Sequence[Decision], log_ratios: Numbers) -> list[float]:
    """Return how much likelier each decision is now; enough is known above a large one."""
    return truncated_weights(
        [math.fsum(log_ratios[d.row][d.begin : d.end]) for d in chain], _LARGE
    )


def _fill(numbers: list[list[float]], decision: Decision, value: float) -> None:
    length = decision.end - decision.begin
    numbers[decision.row][decision.begin : decision.end] = [value] * length


def _zeros(rows: Sequence[Row]) -> list[list[float]]:
    return [[0.0] * len(row.completion_ids) for row in rows]


_LARGE = 1e6
