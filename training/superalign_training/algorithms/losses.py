"""Losses and diagnostics of policy-gradient updates.

Losses map tensors of one shape to a tensor of that shape; callers add up over the tokens
or decisions that count.
"""

import torch

from superalign_env.store import declare

declare("train/policy_loss", "Policy loss")


def clipped_surrogate(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    clip_range: float,
) -> torch.Tensor:
    """Return PPO's clipped surrogate loss.

    Source: arXiv 1707.06347, equation 7.

    Args:
        logprobs: log-probabilities now, with gradients.
        old_logprobs: when the rollout was made.
        advantages: of each.
        clip_range: how far the ratio may leave 1.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(
        ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages
    )


declare("train/clip_fraction", "Clip fraction", unit="share")


def clipped(
    logprobs: torch.Tensor, old_logprobs: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """Return 1.0 where the probability ratio has left the clip range.

    Its mean over tokens is the clip fraction.
    """
    return ((logprobs - old_logprobs).exp().sub(1).abs() > clip_range).float()


declare("train/value_loss", "Value loss", better="lower")


def clipped_value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    clip_range: float | None,
) -> torch.Tensor:
    """Return half the squared error of values, clipped around their old ones.

    Args:
        values: values now, with gradients.
        old_values: when the rollout was made.
        returns: what they should be.
        clip_range: how far a value may leave its old one; None is as far as it likes.
    """
    loss = (values - returns) ** 2
    if clip_range is not None:
        clipped_values = old_values + (values - old_values).clamp(-clip_range, clip_range)
        loss = torch.maximum(loss, (clipped_values - returns) ** 2)
    return 0.5 * loss


declare("train/explained_variance", "Explained variance", better="higher")


def explained_variance(values: torch.Tensor, returns: torch.Tensor) -> float | None:
    """Return the share of the variance of returns that values predict.

    1 is a perfect value function, 0 is no better than a constant.

    Args:
        values: [N] as the rollout found them.
        returns: [N] that they should have been.

    Returns:
        None where returns do not vary.
    """
    variance = returns.var(correction=0)
    if not variance:
        return None
    return float(1 - (returns - values).var(correction=0) / variance)


def k1(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the k1 estimate of the KL from samples of the policy: unbiased, noisy.

    To look at, not to minimise: the expectation of its gradient is 0.
    """
    return policy - reference


declare("train/kl", "KL to the reference policy", unit="nats")
declare("train/approx_kl", "Approximate KL within an update", unit="nats")


def k3(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return the k3 estimate of the KL: unbiased, never negative.

    Source: J. Schulman, "Approximating KL divergence" (2020); what TRL's GRPO minimises.
    """
    log_ratio = reference - policy
    return torch.exp(log_ratio) - log_ratio - 1


declare("train/entropy", "Entropy", unit="nats")


def entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return the entropy [...] of distributions [..., V], in nats."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
