"""How good was what was done, against what was to be expected? Plain numbers, no tensors.

A decision is whatever is judged as one: a turn, or a token. Sequences are the decisions
of one seat in one episode, in order, however many training rows they lie in.
"""

import math
from collections.abc import Sequence

GUARD = 1e-4
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
    """Return the advantage of each decision, and the value it should have been given.

    Generalised advantage estimation (arXiv 1506.02438, equation 16); nothing is to come
    after the last decision. Decisions of other weights are corrected as in V-trace
    (arXiv 1802.01561, equation 1): with ratios of 1 both are the same.

    Args:
        rewards: what each decision earned, up to the next one.
        values: what was expected before each decision.
        gamma: discount, of one decision to the next.
        gae_lambda: 0 trusts the values, 1 trusts the rewards.
        ratios: how much likelier each decision is now than when it was made; None: the
            same weights made it.
        cap: rho-bar, where these are cut off.
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
    """Return pay against the group's mean, in standard deviations (GRPO).

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
    return [value / (deviation + GUARD) for value in centred]


def leave_one_out(pay: Sequence[float]) -> list[float]:
    """Return pay against the mean of the *other* members (RLOO, arXiv 2402.14740)."""
    if len(pay) < 2 or max(pay) == min(pay):  # not even a rounding error: Adam scales it up
        return [0.0] * len(pay)
    total = math.fsum(pay)
    return [value - (total - value) / (len(pay) - 1) for value in pay]


def truncated_weights(log_ratios: Sequence[float], cap: float) -> list[float]:
    """Return importance weights, cut off at the cap."""
    # Beyond the cap the exponential is not needed, and may not be a number.
    bound = math.log(cap)
    return [cap if log >= bound else math.exp(log) for log in log_ratios]
