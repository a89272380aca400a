"""A policy: a causal LM in training, with its agent."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.adapters import SharedBase
from superalign_agents.checkpoints import progress_hidden, tokenizer_hash
from superalign_agents.transformer import TransformerAgent
from superalign_env.store.files import HEAD, MOMENTS
from superalign_env.types import View
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.checkpoint import Checkpoint, read_state
from superalign_training.policy.checkpoint_files import (
    read_agent,
    read_tensors,
    write_checkpoint,
)
from superalign_training.policy.model import (
    Lora,
    check_ends,
    check_padding,
    original_model,
    recompute_activations,
    trainable_agent,
)
from superalign_training.policy.optimizer import MemoryFootprint, memory_footprint
from superalign_training.policy.trainable import TrainableModel


class Policy(TrainableModel):
    """A causal LM in training.

    Args:
        agent: speaks; its model is changed in place, or the adapter that it wears.
        original: content hash of the weights before any training; None: as they are.
        recompute: whether activations are computed again in the backward pass instead of
            being kept (gradient checkpointing): slower, and less memory.

    Raises:
        InvalidOption: a tokenizer without an end-of-sequence token, or a model that
            cannot recompute.
    """

    def __init__(
        self,
        agent: TransformerAgent,
        *,
        original: str | None = None,
        recompute: bool = False,
    ) -> None:
        check_ends(agent)
        check_padding(agent)
        if recompute:
            recompute_activations(agent.model)
        super().__init__(agent)
        self._original = original or ("" if agent.adapter else agent.policy)
        self._reference: PreTrainedModel | None = None

    @classmethod
    def from_reference(
        cls,
        reference: str | Mapping[str, Any],
        *,
        device: str = "cpu",
        adapter: Lora | None = None,
        base: SharedBase | None = None,
        seed: int = 0,
        recompute: bool = False,
        **options: Any,
    ) -> Self:
        """Return the policy that an agent reference names.

        Args:
            reference: ``micro/3``, a folder, ``hf:org/name``, or a mapping with an id.
            device: where the model shall live.
            adapter: trained instead of the model's own weights.
            base: what the adapter stands on, shared with other policies; None loads it.
            seed: of the adapter's first weights; it changes nothing that is said at first.
            recompute: see `Policy`.
            **options: further options of `TransformerAgent`, such as the temperature.

        Raises:
            UnknownId: nothing is called so.
            InvalidOption: what is called so has no weights to train, or base and adapter
                do not fit.
        """
        reference_options = (
            {"id": reference} if isinstance(reference, str) else dict(reference)
        )
        agent_options = {"device": device, **options, **reference_options}
        recompute = bool(agent_options.pop("recompute", recompute))
        agent = trainable_agent(agent_options, adapter=adapter, base=base, seed=seed)
        return cls(agent, recompute=recompute)

    @classmethod
    def load(
        cls,
        folder: Path,
        expected: Checkpoint | None = None,
        *,
        device: str = "cpu",
        base: SharedBase | None = None,
        recompute: bool = False,
        compiled: bool = False,
    ) -> Self:
        """Read a checkpoint and check it against what was recorded.

        Args:
            folder: where it lies.
            expected: what the record says of it; None takes the folder's own word.
            device: where the model shall live.
            base: what its adapter stands on; None loads it.
            recompute: see `Policy`.
            compiled: see `TransformerAgent`.

        Raises:
            RecordDamaged: it is missing, or is not what was written.
            InvalidOption: the base given is not the one that the adapter was trained on.
        """
        expected = expected or read_state(folder)
        agent = read_agent(folder, expected, base=base, device=device, compiled=compiled)
        policy = cls(agent, original=expected.original or None, recompute=recompute)
        moments = read_tensors(folder / MOMENTS, expected.optimizer)
        head = read_tensors(folder / HEAD, expected.head)
        if head:
            policy.value_head.load_state_dict(
                {name.removeprefix("value_head."): tensor for name, tensor in head.items()}
            )
        if moments:
            policy.optimizer_state.take(moments)
        policy.optimizer_state.updates = expected.updates
        policy.baselines = Baselines(expected.baselines)
        return policy

    def save(self, folder: Path) -> Checkpoint:
        """Write a checkpoint; the folder appears whole or not at all.

        Returns:
            What was written, with the folder's own name as the path.
        """
        state = msgspec.structs.replace(
            self.origin, updates=self.updates, baselines=self.baselines.plain()
        )
        return write_checkpoint(
            folder,
            state,
            self._save_model,
            moments=self.optimizer_state.moments(),
            head=self.head_weights(),
        )

    def _save_model(self, folder: Path) -> None:
        """Write the model and its tokenizer, or the adapter alone."""
        if self.agent.adapter is not None:
            self.agent.adapter.save(folder)
            return
        with progress_hidden(self.memory_footprint().weights):
            self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    # --- what it is

    @property
    def reference(self) -> str:
        """Its name in records."""
        return self.agent.reference

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        return self.agent.tokenizer

    @property
    def base(self) -> SharedBase | None:
        """The base of its adapter; None for a whole model."""
        return self.agent.adapter.base if self.agent.adapter else None

    @property
    def hash(self) -> str:
        """Content hash of the weights as they are now; an adapter's with its base's."""
        self.agent.refresh()
        return self.agent.policy

    @property
    def origin(self) -> Checkpoint:
        """Checkpoint of this policy before it is saved in a folder of the run."""
        return Checkpoint(
            "",
            self.reference,
            self.hash,
            options=self.agent.spec.options,
            original=self._original,
            base=self.base.hash if self.base else "",
            tokenizer=tokenizer_hash(self.tokenizer),
        )

    @property
    def parameters_trained(self) -> int:
        """Trained parameters, the value head's included."""
        return sum(weight.numel() for weight in self.trained_weights().values())

    @property
    def parameters_total(self) -> int:
        """All parameters, a shared base and the value head included."""
        head = sum(weight.numel() for weight in self.head_weights().values())
        return head + sum(weight.numel() for weight in self.model.parameters())

    def memory_footprint(self, *, reference: bool = False) -> MemoryFootprint:
        """Return the bytes of the policy in training, without activations.

        Args:
            reference: whether its untrained original is wanted too.
        """
        return memory_footprint(
            parameters=sum(weight.numel() for weight in self.model.parameters()),
            trained=sum(weight.numel() for weight in self.model_weights().values()),
            head=sum(weight.numel() for weight in self.head_weights().values()),
            dtype=self.model.dtype,
            adapter=self.agent.adapter is not None,
            reference=reference,
        )

    # --- its original

    @contextmanager
    def training(self, *, dropout: bool = True) -> Iterator[PreTrainedModel]:
        """Yield the model in training mode; leave it ready to generate.

        What trainers leave on the model, and on its original, is taken off again.

        Args:
            dropout: see `TrainableModel.training`.
        """
        try:
            with super().training(dropout=dropout) as model:
                yield model
        finally:
            if self._reference is not None:
                self._reference.__dict__.pop("forward", None)

    def reference_model(self) -> PreTrainedModel:
        """Return the frozen untrained original: the reference of the KL.

        With an adapter it is the base without any, which takes no memory; else a copy,
        made when first asked for and kept until `forget_reference`.

        Raises:
            InvalidOption: the policy has been trained, and its original is gone.
        """
        if self._reference is None:
            self._reference = original_model(self.agent, self._original)
        return self._reference

    def forget_reference(self) -> None:
        """Free the memory of the untrained original."""
        self._reference = None

    # --- tokens

    def prompt_ids(self, view: View) -> tuple[int, ...]:
        """Return this policy's prompt tokens of a view."""
        return tuple(self.agent.prompt_ids(view))

    def reply_ids(self, view: View, text: str) -> tuple[int, ...]:
        """Return this policy's completion tokens for a text."""
        return self.agent.reply_ids(view, text)
