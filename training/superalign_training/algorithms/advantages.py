"""Advantages and returns: GAE, group-relative, leave-one-out. Plain numbers, no tensors.

An action is a turn or a token. A trajectory is the actions of one seat in one episode, in
order. A chat template that drops earlier thoughts cuts it into several rows; the last action
of a row is followed by the first of the next all the same.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from superalign_training.data import Row

_LARGE = 1e6
"""Ratios above need not be known exactly."""

STD_EPS = 1e-4
"""Is added to standard deviations, as in TRL: tiny differences are not blown up."""


def gae(
    rewards: Sequence[float],
    values: Sequence[float],
    *,
    gamma: float,
    gae_lambda: float,
    ratios: Sequence[float] | None = None,
    cap: float = 1.0,
) -> tuple[list[float], list[float]]:
    """Return the advantages and returns of the actions of one trajectory (GAE).

    Generalised advantage estimation (arXiv 1506.02438, equation 16); nothing is to come
    after the last action. Actions of other weights are corrected as in V-trace
    (arXiv 1802.01561, equation 1): with ratios of 1 both are the same.

    Args:
        rewards: of each action, up to the next one.
        values: of the state before each action.
        gamma: discount, of one action to the next.
        gae_lambda: 0 trusts the values, 1 trusts the rewards.
        ratios: probability of each action now over that when it was sampled; None is 1.
        cap: their limit (rho-bar).
    """
    ratios = ratios if ratios is not None else [1.0] * len(rewards)
    advantages, returns = [0.0] * len(rewards), [0.0] * len(rewards)
    value_after = correction_after = 0.0
    for place in reversed(range(len(rewards))):
        weight, value = min(cap, ratios[place]), values[place]
        delta = rewards[place] + gamma * value_after - value
        advantages[place] = weight * (delta + gamma * gae_lambda * correction_after)
        carried = min(1.0, ratios[place]) * gamma * gae_lambda * correction_after
        correction = weight * delta + carried
        returns[place] = value + correction
        value_after, correction_after = value, correction
    return advantages, returns


def group_relative(pay: Sequence[float], *, scaled: bool = True) -> list[float]:
    """Return pay minus the group's mean, in standard deviations (GRPO).

    A group without any difference, and a group of one, have no advantage.

    Args:
        pay: of the members.
        scaled: whether to divide by the standard deviation (with n − 1).
    """
    centred = [value - math.fsum(pay) / len(pay) for value in pay]
    if len(pay) < 2 or max(pay) == min(pay):
        return [0.0] * len(pay)
    if not scaled:
        return centred
    deviation = math.sqrt(math.fsum(value**2 for value in centred) / (len(pay) - 1))
    return [value / (deviation + STD_EPS) for value in centred]


def leave_one_out(pay: Sequence[float]) -> list[float]:
    """Return pay minus the mean of the *other* members (RLOO, arXiv 2402.14740)."""
    if len(pay) < 2 or max(pay) == min(pay):  # not even a rounding error: Adam scales it up
        return [0.0] * len(pay)
    total = math.fsum(pay)
    return [value - (total - value) / (len(pay) - 1) for value in pay]


def truncated_weights(log_ratios: Sequence[float], cap: float) -> list[float]:
    """Return importance weights, cut off at the cap."""
    # Beyond the cap the exponential is not needed, and may not be a number.
    bound = math.log(cap)
    return [cap if log >= bound else math.exp(log) for log in log_ratios]


Level = Literal["turn", "token"]
"""What one action is."""

Numbers = Sequence[Sequence[float]]
"""For every row one number for every token of its completion."""


class Action(NamedTuple):
    """Own tokens that share one advantage: those of a turn, or a single one."""

    row: int
    begin: int
    end: int
    reward: float
    """Earned before the next action."""


class Gae(NamedTuple):
    """Advantages and returns, for every row one number per token of its completion."""

    advantages: list[list[float]]
    returns: list[list[float]]
    """Targets of the values, only where an action begins."""
    starts: list[list[float]]
    """1.0 where an action begins."""


def trajectories(rows: Sequence[Row], level: Level) -> list[list[Action]]:
    """Return the actions of every (episode, seat), in the order they were made."""
    places_of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places_of[row.episode, row.seat].append(place)
    return [
        [
            action
            for place in sorted(places, key=lambda place: rows[place].turns[0])
            for action in _actions(rows[place], place, level)
        ]
        for places in places_of.values()
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

    All tokens of a turn share its advantage, if an action is a turn.

    Args:
        rows: all rows of their episodes; in any order.
        values: before each token.
        level: what an action is.
        gamma: discount, of one action to the next.
        gae_lambda: 0 trusts the values, 1 the rewards.
        log_ratios: of each token, see `log_ratios`; None: all rows are on-policy.
        cap: limit of importance weights.
    """
    estimates = Gae(_zeros(rows), _zeros(rows), _zeros(rows))
    for trajectory in trajectories(rows, level):
        ratios = None
        if log_ratios is not None:
            ratios = _ratios(trajectory, log_ratios)
        advantages, returns = gae(
            [action.reward for action in trajectory],
            [values[action.row][action.begin] for action in trajectory],
            gamma=gamma,
            gae_lambda=gae_lambda,
            ratios=ratios,
            cap=cap,
        )
        for action, advantage, return_ in zip(trajectory, advantages, returns, strict=True):
            _fill(estimates.advantages, action, advantage)
            estimates.returns[action.row][action.begin] = return_
            estimates.starts[action.row][action.begin] = 1.0
    return estimates


def by_turn(rows: Sequence[Row], advantages: Numbers) -> list[list[float]]:
    """Spread one advantage for every turn over the turn's tokens."""
    spread = _zeros(rows)
    for place, row in enumerate(rows):
        for (begin, end), advantage in zip(row.spans, advantages[place], strict=True):
            spread[place][begin:end] = [advantage] * (end - begin)
    return spread


def importance_weighted(
    rows: Sequence[Row], advantages: Numbers, log_ratios: Numbers, cap: float
) -> list[list[float]]:
    """Return the advantage of every turn times its truncated importance weight."""
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
    """Return log π(token) now minus log π(token) when it was sampled, for each own token.

    0 for live rows, which the newest weights have sampled.

    Args:
        rows: with recorded log-probabilities.
        now: log-probabilities of their tokens under the newest weights.
    """
    return [
        [
            new - old if is_own and row.origin != "live" else 0.0
            for new, old, is_own in zip(numbers, row.logprobs, row.env_mask, strict=False)
        ]
        for numbers, row in zip(now, rows, strict=True)
    ]


def is_off_policy(rows: Sequence[Row], cap: float | None) -> bool:
    """Return whether some rows need importance weights."""
    return cap is not None and any(row.origin != "live" for row in rows)


def _actions(row: Row, place: int, level: Level) -> Iterable[Action]:
    for (begin, end), reward in zip(row.spans, row.turn_rewards, strict=True):
        if level == "turn":
            yield Action(place, begin, end, reward)
            continue
        for token in range(begin, end):
            is_last = token == end - 1
            yield Action(place, token, token + 1, reward if is_last else 0.0)


def _ratios(trajectory: Sequence[Action], log_ratios: Numbers) -> list[float]:
    """Return the importance ratio of each action, at most `_LARGE`."""
    return truncated_weights(
        [math.fsum(log_ratios[d.row][d.begin : d.end]) for d in trajectory], _LARGE
    )


def _fill(numbers: list[list[float]], action: Action, value: float) -> None:
    length = action.end - action.begin
    numbers[action.row][action.begin : action.end] = [value] * length


def _zeros(rows: Sequence[Row]) -> list[list[float]]:
    return [[0.0] * len(row.completion_ids) for row in rows]
