"""The frozen model that a policy started from: what divergence is measured against."""

import copy

from transformers import PreTrainedModel

from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, SuperalignError


def original_of(agent: TransformerAgent, original: str) -> PreTrainedModel:
    """Return the untrained original of an agent, frozen.

    With an adapter it is another twin of the base, which takes no memory.

    Args:
        agent: has perhaps been trained since.
        original: content hash of its weights before any training.

    Raises:
        InvalidOption: it has been trained, and what it is called after is gone or is
            something else now.
    """
    if agent.adapter is not None:
        return agent.adapter.base.twin()
    agent.refresh()
    found = agent.model if agent.policy == original else _loaded(agent, original)
    twin = copy.deepcopy(found)
    twin.__dict__.pop("forward", None)  # a trainer's
    twin.requires_grad_(False)
    twin.train(False)
    return twin


def _loaded(agent: TransformerAgent, original: str) -> PreTrainedModel:
    """Return the original from where it came from."""
    where = {"device": str(agent.model.device), "dtype": agent.model.dtype}
    try:
        found = make_agent({"id": agent.reference, "attention": agent.attention, **where})
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
    return found.model
