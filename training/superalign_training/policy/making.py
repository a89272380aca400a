"""From a reference to the agent of a policy: a whole model, or an adapter on a base."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from superalign_agents.adapters import SharedBase, fresh_adapter
from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env import registry
from superalign_env.errors import InvalidOption
from superalign_training.policy.adapter import Lora, shared_base
from superalign_training.policy.folder import agent_on

_WEIGHTLESS = (
    "{} has no weights to train; name a rung (micro/3), a model folder or hf:org/name"
)


def trainable_agent(
    given: Mapping[str, Any], *, adapter: Lora | None, base: SharedBase | None, seed: int
) -> TransformerAgent:
    """Return the agent whose weights a policy will train.

    Args:
        given: an agent reference with options of `TransformerAgent`.
        adapter: trained instead of the model's own weights.
        base: what the adapter stands on; None loads it.
        seed: of the adapter's first weights.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: what is called so has no weights to train, or base and adapter do
            not fit.
    """
    name = given.get("id")
    if adapter is not None:
        return _with_adapter(dict(given), adapter, base, seed=seed)
    if base is not None:
        raise InvalidOption(
            "a base is what adapters stand on; give adapter=Lora(), or leave base out"
        )
    try:
        agent = make_agent(given)
    except InvalidOption as error:
        if _is_weightless(str(name)):
            raise InvalidOption(_WEIGHTLESS.format(name)) from error
        raise InvalidOption(f"{name} cannot be trained: {error}") from error
    if not isinstance(agent, TransformerAgent):
        raise InvalidOption(_WEIGHTLESS.format(name))
    return agent


def _is_weightless(name: str) -> bool:
    """Return whether a registered agent is nothing that could live on a device."""
    if name not in registry.entries("agent"):
        return False
    return "device" not in inspect.signature(registry.load("agent", name)).parameters


def _with_adapter(
    given: dict[str, Any], lora: Lora, base: SharedBase | None, *, seed: int
) -> TransformerAgent:
    name = str(given.pop("id", ""))
    settled = {
        key: given.pop(key) for key in ("device", "dtype", "attention") if key in given
    }
    if base is None:
        base = shared_base(name, **settled)
    elif base.reference != name:
        raise InvalidOption(
            f"the base given is {base.reference}, not {name}; name the one, or give the other"
        )
    adapter = fresh_adapter(base, lora.settings(), seed=seed)
    return agent_on(adapter, given, reference=name)


def check_ends(agent: TransformerAgent) -> None:
    """Refuse a tokenizer without an end; give one without padding its end for that.

    Raises:
        InvalidOption: a policy that could never learn to stop.
    """
    tokenizer = agent.tokenizer
    if tokenizer.eos_token_id is None:
        raise InvalidOption(
            f"{agent.reference} has no end-of-sequence token, so it could never learn to "
            "stop; set tokenizer.eos_token"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
        warnings.warn(
            f"{agent.reference} has no padding token; its end {tokenizer.eos_token!r} takes "
            "that place, where no loss and no attention falls. Set tokenizer.pad_token to "
            "choose another",
            RuntimeWarning,
            stacklevel=4,
        )


def recompute_activations(model: PreTrainedModel) -> None:
    """Let a model compute activations again in the backward pass instead of keeping them.

    Raises:
        InvalidOption: its architecture cannot.
    """
    if not model.supports_gradient_checkpointing:
        raise InvalidOption(
            f"{type(model).__name__} cannot recompute its activations; set recompute=False"
        )
    untyped: Any = model
    untyped.activation_checkpointing_enable({"use_reentrant": False})
