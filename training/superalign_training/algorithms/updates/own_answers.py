"""What a student itself would say: the other half of the auxiliary confidence loss.

Burns et al. 2023 (arXiv 2312.09390, section 4.3 and appendix A.4) harden the student's own
prediction and mix it with the weak label. Their answers are classes. Here a one-word answer
is a class, read from the logits of the very pass that is trained on; any longer answer is
decoded greedily as a whole, so that a label's wrong first step does not decide the rest.
"""

from collections.abc import Sequence

import torch

from superalign_agents.decoding import sample
from superalign_training.data import Example
from superalign_training.policy import Policy

Ids = tuple[int, ...]


def one_word(lessons: Sequence[Example]) -> torch.Tensor | None:
    """Return the first tokens [K] of all labels, ascending; None if one is longer.

    A one-word answer is one token and the end of the sequence.
    """
    if any(len(lesson.completion_ids) > 2 for lesson in lessons):
        return None
    return torch.as_tensor(sorted({lesson.completion_ids[0] for lesson in lessons}))


def hardened(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the student's own classes [B].

    Of two classes each is given as often as the labels give it (Burns et al.'s adaptive
    threshold): a student that is sure of one class from the start would otherwise confirm
    itself into saying nothing else. Of more classes the likeliest is taken.

    Args:
        scores: [B, K] log-probabilities or logits.
        labels: [B] weak ones.
    """
    if scores.shape[1] != 2:
        return scores.argmax(dim=1)
    margin = scores[:, 1] - scores[:, 0]
    own = torch.zeros_like(labels)
    own[margin.topk(int(labels.sum())).indices] = 1
    return own


def class_losses(
    scores: torch.Tensor, labels: torch.Tensor, sure: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return the cross-entropy [B] to (1 − weight)·weak + weight·own, in nats.

    Args:
        scores: [B, K] log-probabilities of the classes, with gradients.
        labels: [B] weak ones.
        sure: [B] probability of the weak label; the rest is shared by the other classes.
        weight: of the own, hardened answer.
    """
    classes = scores.shape[1]
    spread = ((1.0 - sure) / max(1, classes - 1))[:, None].expand(-1, classes)
    weak = spread.scatter(1, labels[:, None], sure[:, None])
    own = torch.zeros_like(weak)
    own[torch.arange(len(own)), hardened(scores.detach(), labels)] = 1.0
    return -(((1.0 - weight) * weak + weight * own) * scores).sum(dim=1)


def greedy_answers(policy: Policy, prompts: Sequence[Ids], longest: int) -> list[Ids]:
    """Return what a policy says at temperature 0, end of sequence included.

    An answer that does not end is none: its place is empty.

    Args:
        policy: in whatever mode; it is left in the same.
        prompts: B, none empty.
        longest: answer, in tokens.
    """
    model = policy.model
    was_training = model.training
    model.train(False)
    try:
        said = sample(
            model,
            prompts,
            max_new_tokens=[longest] * len(prompts),
            stop_ids=[int(policy.tokenizer.eos_token_id or 0)],
            temperature=0.0,
        )
    finally:
        model.train(was_training)
    return [one.token_ids if one.finish == "stop" else () for one in said]


def smallest_losses(
    losses: Sequence[float], keep_share: float, groups: Sequence[object]
) -> list[int]:
    """Return the places of the lessons of the smallest losses, in order.

    The share is kept of every group, or the rarer class would be thrown out first.

    Args:
        losses: of N lessons.
        keep_share: share in (0, 1]; at least one of each group is kept.
        groups: of the lessons, such as their one-word labels.
    """
    by_group: dict[object, list[int]] = {}
    for place, group in enumerate(groups):
        by_group.setdefault(group, []).append(place)
    kept: list[int] = []
    for places in by_group.values():
        ranked = sorted(places, key=lambda place: (losses[place], place))
        kept += ranked[: max(1, round(keep_share * len(places)))]
    return sorted(kept)
