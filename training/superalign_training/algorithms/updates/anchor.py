"""What a policy is held to while it is rewarded."""

import copy

from transformers import PreTrainedModel

from superalign_training.algorithms.trainers.former_self import Anchor
from superalign_training.policy import Policy


def anchor_of(policy: Policy, anchor: Anchor) -> PreTrainedModel:
    """Return the frozen model that divergence is measured against.

    Weights that are not trained (the base under an adapter) are shared, not copied.

    Raises:
        InvalidOption: the original is wanted, but is gone.
    """
    if anchor == "original":
        return policy.reference_model()
    untrained = [weight for weight in policy.model.parameters() if not weight.requires_grad]
    twin: PreTrainedModel = copy.deepcopy(
        policy.model, {id(weight): weight for weight in untrained}
    )
    twin.requires_grad_(False)
    twin.train(False)
    return twin
