"""Low-rank adapters: how a policy can be a small addition to a base it shares."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import PositiveFloat, model_validator

from superalign_agents.adapters import SharedBase
from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_training.sections import Count, Section, Share

if TYPE_CHECKING:  # takes seconds to import
    from peft import LoraConfig


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
