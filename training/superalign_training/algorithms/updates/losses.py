"""What is minimised. Every function maps tensors of one shape to a tensor of that shape.

Callers add up over the tokens or decisions that count; nothing here averages.
"""

import torch


def clipped_surrogate(
    new: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """Return PPO's loss: what is gained by moving further than the clip does not count.

    Source: arXiv 1707.06347, equation 7.

    Args:
        new: log-probabilities now, with gradients.
        old: when the rollout was made.
        advantages: of each.
        clip: how far the ratio may leave 1.
    """
    ratio = torch.exp(new - old)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def clipped_value_loss(
    new: torch.Tensor, old: torch.Tensor, targets: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Return half the squared error; moving further than the clip does not count.

    Args:
        new: values now, with gradients.
        old: when the rollout was made.
        targets: what they should be.
        clip: how far a value may leave its old one; None is as far as it likes.
    """
    loss = (new - targets) ** 2
    if clip is not None:
        near = old + (new - old).clamp(-clip, clip)
        loss = torch.maximum(loss, (near - targets) ** 2)
    return 0.5 * loss


def k1(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return an unbiased, noisy estimate of the divergence, from samples of the policy.

    To look at, not to minimise: the expectation of its gradient is 0.
    """
    return policy - reference


def k3(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Return an unbiased estimate of the divergence that is never negative.

    Source: J. Schulman, "Approximating KL divergence" (2020); what TRL's GRPO minimises.
    """
    log_ratio = reference - policy
    return torch.exp(log_ratio) - log_ratio - 1


def entropy(log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return the entropy [...] of distributions [..., V], in nats."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
