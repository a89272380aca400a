"""The frozen model that a policy started from: what divergence is measured against."""

import copy

from transformers import PreTrainedModel

from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, SuperalignError


def frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy that cannot be trained."""
    twin = copy.deepcopy(model)
    twin.requires_grad_(False)
    twin.train(False)
    return twin


def original_of(agent: TransformerAgent, original: str) -> PreTrainedModel:
    """Return the untrained original of an agent, frozen.

    Args:
        agent: has perhaps been trained since.
        original: content hash of its weights before any training.

    Raises:
        InvalidOption: it has been trained, and what it is called after is gone or is
            something else now.
    """
    agent.refresh()
    if agent.policy == original:
        return frozen_copy(agent.model)
    try:
        found = make_agent(
            {
                "id": agent.reference,
                "device": str(agent.model.device),
                "dtype": agent.model.dtype,
            }
        )
    except SuperalignError as error:
        raise InvalidOption(
            f"the untrained original of {agent.reference} cannot be loaded ({error}); call "
            "reference_model() before training, or start from a folder or a rung"
        ) from error
    if not isinstance(found, TransformerAgent) or found.policy != original:
        raise InvalidOption(
            f"{agent.reference} has other weights now than when this policy began; restore "
            "them, or start a new policy"
        )
    return frozen_copy(found.model)
