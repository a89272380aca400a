"""The causal LM of a policy, whole or a LoRA adapter on a shared base, and its original."""

import copy
import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from pydantic import PositiveFloat, model_validator
from transformers import PreTrainedModel

from superalign_agents.adapters import Adapter, SharedBase, fresh_adapter
from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env import registry
from superalign_env.errors import InvalidOption, SuperalignError
from superalign_env.plain_text import inline
from superalign_training.sections import Count, Section, Share

if TYPE_CHECKING:  # takes seconds to import
    from peft import LoraConfig

BASE_OPTIONS = ("dtype", "attention", "adapter")
"""Options of an agent that its base has settled."""

_WEIGHTLESS = (
    "{} has no weights to train; name a rung (micro/3), a model folder or hf:org/name"
)


class Lora(Section):
    """A low-rank adapter (Hu et al. 2021): W + alpha / rank · B A, where B begins as 0."""

    rank: Count = 8
    """Rows of A and columns of B."""
    alpha: PositiveFloat = 16.0
    """Strength of the addition, divided by the rank."""
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Which layers get one: names of modules (``q_proj``), or all but the output layer."""
    dropout: Share = 0.0
    """Of the adapter's input, in training only."""

    @model_validator(mode="after")
    def _leaves_the_output_layer_alone(self) -> Self:
        if "lm_head" in self.targets:
            raise ValueError(
                "an adapter on lm_head would not be trained: TRL reads that layer's weights "
                "directly; leave it out of targets"
            )
        return self

    def settings(self) -> "LoraConfig":
        """Return the same as peft has it."""
        from peft import LoraConfig  # noqa: PLC0415 (heavy)

        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type] # a fraction works as well
            target_modules=(
                self.targets if isinstance(self.targets, str) else list(self.targets)
            ),
            lora_dropout=self.dropout,
            task_type="CAUSAL_LM",
        )


def shared_base(reference: str, *, device: str = "cpu", **options: Any) -> SharedBase:
    """Load a base for any number of adapters.

    Args:
        reference: ``micro/3``, a folder or ``hf:org/name``.
        device: where it shall live.
        **options: further options of `TransformerAgent`: dtype, attention.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: what is called so is no model, or has an adapter already.
    """
    refusal = (
        f"{reference} is no model that adapters could stand on; name a rung (micro/3), a "
        "model folder or hf:org/name"
    )
    try:
        agent = make_agent({"id": reference, "device": device, **options})
    except InvalidOption as error:
        raise InvalidOption(f"{refusal}: {error}") from error
    if not isinstance(agent, TransformerAgent) or agent.adapter is not None:
        raise InvalidOption(refusal)
    return SharedBase(agent.model, agent.tokenizer, reference=reference)


def trainable_agent(
    options: Mapping[str, Any], *, adapter: Lora | None, base: SharedBase | None, seed: int
) -> TransformerAgent:
    """Return the agent with the weights of a policy in training.

    Args:
        options: an agent reference with options of `TransformerAgent`.
        adapter: trained instead of the model's own weights.
        base: what the adapter stands on; None loads it.
        seed: of the adapter's first weights.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: what is called so has no weights to train, or base and adapter do
            not fit.
    """
    name = options.get("id")
    if adapter is not None:
        return _with_adapter(dict(options), adapter, base, seed=seed)
    if base is not None:
        raise InvalidOption(
            "a base is what adapters stand on; give adapter=Lora(), or leave base out"
        )
    try:
        agent = make_agent(options)
    except InvalidOption as error:
        if _is_weightless(str(name)):
            raise InvalidOption(_WEIGHTLESS.format(name)) from error
        raise InvalidOption(f"{name} cannot be trained: {error}") from error
    if not isinstance(agent, TransformerAgent):
        raise InvalidOption(_WEIGHTLESS.format(name))
    return agent


def _is_weightless(name: str) -> bool:
    """Return whether a registered agent has no device."""
    if name not in registry.entries("agent"):
        return False
    return "device" not in inspect.signature(registry.load("agent", name)).parameters


def _with_adapter(
    options: dict[str, Any], lora: Lora, base: SharedBase | None, *, seed: int
) -> TransformerAgent:
    name = str(options.pop("id", ""))
    settled = {
        key: options.pop(key) for key in ("device", "dtype", "attention") if key in options
    }
    if base is None:
        base = shared_base(name, **settled)
    elif base.reference != name:
        raise InvalidOption(
            f"the base given is {base.reference}, not {name}; name the one, or give the other"
        )
    adapter = fresh_adapter(base, lora.settings(), seed=seed)
    return agent_on(adapter, options, reference=name)


def check_ends(agent: TransformerAgent) -> None:
    """Raise for a tokenizer without an end; let the end serve as padding where there is none.

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
            inline(
                f"{agent.reference} has no padding token; its end {tokenizer.eos_token!r} takes "
                "that place, where no loss and no attention falls. Set tokenizer.pad_token to "
                "choose another"
            ),
            RuntimeWarning,
            stacklevel=4,
        )


def check_padding(agent: TransformerAgent) -> None:
    """Raise for a model whose attention reads a table of as many positions as its context.

    A batch of rows is wider than the longest of them: prompts are padded on the left and
    completions on the right, by TRL as well.

    Raises:
        InvalidOption: the model may speak, but not be trained.
    """
    context = getattr(agent.model.config, "max_position_embeddings", None)
    for name, table in agent.model.named_buffers():
        if table.dtype == torch.bool and table.shape[-2:] == (context, context):
            raise InvalidOption(
                f"{agent.reference} ({type(agent.model).__name__}) cannot be trained: its "
                f"attention reads a table of {context} positions ({name}), and padded batches "
                "are wider than their rows; it may speak, but train another architecture"
            )


def recompute_activations(model: PreTrainedModel) -> None:
    """Enable activation checkpointing.

    Raises:
        InvalidOption: its architecture cannot.
    """
    if not model.supports_gradient_checkpointing:
        raise InvalidOption(
            f"{type(model).__name__} cannot recompute its activations; set recompute=False"
        )
    untyped: Any = model
    untyped.activation_checkpointing_enable({"use_reentrant": False})


def agent_on(
    adapter: Adapter, options: Mapping[str, Any], *, reference: str
) -> TransformerAgent:
    """Return an agent with an adapter on a base, options of the base left out."""
    return TransformerAgent(
        adapter.model,
        tokenizer=adapter.base.tokenizer,
        adapter=adapter,
        reference=reference,
        **{key: value for key, value in options.items() if key not in BASE_OPTIONS},
    )


def original_model(agent: TransformerAgent, original: str) -> PreTrainedModel:
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
    untrained = (
        agent.model if agent.policy == original else _loaded_original(agent, original)
    )
    frozen = copy.deepcopy(untrained)
    frozen.__dict__.pop("forward", None)  # a trainer's
    frozen.requires_grad_(False)
    frozen.train(False)
    return frozen


def _loaded_original(agent: TransformerAgent, original: str) -> PreTrainedModel:
    """Return the original, loaded again from its reference."""
    placement = {"device": str(agent.model.device), "dtype": agent.model.dtype}
    try:
        loaded = make_agent(
            {"id": agent.reference, "attention": agent.attention, **placement}
        )
    except SuperalignError as error:
        raise InvalidOption(
            f"the untrained original of {agent.reference} cannot be loaded ({error}); call "
            "reference_model() before training, or start from a folder or a rung"
        ) from error
    if not isinstance(loaded, TransformerAgent) or loaded.policy != original:
        raise InvalidOption(
            f"{agent.reference} has other weights now than when this policy began; restore "
            "them, or start a new policy"
        )
    return loaded.model
