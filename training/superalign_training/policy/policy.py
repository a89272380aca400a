"""A policy: a causal LM that speaks through an agent, and all that trains it."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.adapters import SharedBase
from superalign_agents.checkpoints import tokenizer_hash
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_env.types import View
from superalign_training.policy import folder as folders
from superalign_training.policy.adapter import Lora
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.checkpoint import HEAD, MOMENTS, Checkpoint
from superalign_training.policy.making import trainable_agent
from superalign_training.policy.memory import Memory, memory_of
from superalign_training.policy.optimiser import Optimiser, Weights
from superalign_training.policy.outlook import Outlook, ValueHead, look, value
from superalign_training.policy.reference import original_of
from superalign_training.policy.schedule import CONSTANT, Schedule


class Policy:
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
        _check_ends(agent)
        if recompute:
            _recompute(agent.model)
        self.agent = agent
        self.optimiser = Optimiser(self.model_weights, self.head_weights)
        self.baselines = Baselines()
        self._original = original or ("" if agent.adapter else agent.policy)
        self._head: ValueHead | None = None
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
        named = {"id": reference} if isinstance(reference, str) else dict(reference)
        given = {"device": device, **options, **named}
        agent = trainable_agent(given, adapter=adapter, base=base, seed=seed)
        return cls(agent, recompute=recompute)

    @classmethod
    def load(
        cls,
        folder: Path,
        expected: Checkpoint,
        *,
        device: str = "cpu",
        base: SharedBase | None = None,
        recompute: bool = False,
    ) -> Self:
        """Read a checkpoint and check it against what was recorded.

        Args:
            folder: where it lies.
            expected: what the record says of it.
            device: where the model shall live.
            base: what its adapter stands on; None loads it.
            recompute: see `Policy`.

        Raises:
            RecordDamaged: it is missing, or is not what was written.
            InvalidOption: the base given is not the one that the adapter was trained on.
        """
        agent = folders.read_agent(folder, expected, base=base, device=device)
        policy = cls(agent, original=expected.original or None, recompute=recompute)
        moments = folders.read_tensors(folder / MOMENTS, expected.optimizer)
        head = folders.read_tensors(folder / HEAD, expected.head)
        if head:
            policy.value_head.load_state_dict(
                {name.removeprefix("value_head."): kept for name, kept in head.items()}
            )
        if moments:
            policy.optimiser.take(moments)
        policy.optimiser.updates = expected.updates
        policy.baselines = Baselines(expected.baselines)
        return policy

    def save(self, folder: Path) -> Checkpoint:
        """Write a checkpoint; the folder appears whole or not at all.

        Returns:
            What was written, with the folder's own name as the path.
        """
        return folders.write(self, folder)

    # --- what it is

    @property
    def reference(self) -> str:
        """What the policy is called in records."""
        return self.agent.reference

    @property
    def model(self) -> PreTrainedModel:
        """The language model; only what is trained requires gradients."""
        return self.agent.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        return self.agent.tokenizer

    @property
    def base(self) -> SharedBase | None:
        """What the policy's adapter stands on; None for a whole model."""
        return self.agent.adapter.base if self.agent.adapter else None

    @property
    def hash(self) -> str:
        """Content hash of the weights as they are now; an adapter's with its base's."""
        self.agent.refresh()
        return self.agent.policy

    @property
    def origin(self) -> Checkpoint:
        """What a chain says of this policy while it lies in no folder of the run."""
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
        """How many numbers training changes, the value head's included."""
        return sum(weight.numel() for weight in self.trained_weights().values())

    @property
    def parameters_total(self) -> int:
        """How many numbers the policy consists of, a shared base and the head included."""
        head = sum(weight.numel() for weight in self.head_weights().values())
        return head + sum(weight.numel() for weight in self.model.parameters())

    def memory(self, *, reference: bool = False) -> Memory:
        """Return what the policy takes while it is trained, activations left out.

        Args:
            reference: whether its untrained original is wanted too.
        """
        return memory_of(
            parameters=sum(weight.numel() for weight in self.model.parameters()),
            trained=sum(weight.numel() for weight in self.model_weights().values()),
            head=sum(weight.numel() for weight in self.head_weights().values()),
            dtype=self.model.dtype,
            adapter=self.agent.adapter is not None,
            reference=reference,
        )

    # --- training

    @contextmanager
    def training(self) -> Iterator[PreTrainedModel]:
        """Yield the model, ready to be trained; afterwards it is ready to speak.

        TRL's trainers put a `forward` of their own on models and leave it there; it is
        taken off, or a policy trained for many rounds would call through all of them.
        """
        self.model.train(True)
        try:
            yield self.model
        finally:
            for model in (self.model, self._reference):
                if model is not None:
                    model.__dict__.pop("forward", None)
            for weight in self.trained_weights().values():
                weight.grad = None
            self.model.train(False)
            self.agent.refresh()

    @property
    def updates(self) -> int:
        """Optimiser steps ever taken."""
        return self.optimiser.updates

    def optimizer(
        self, rate: float, *, value_rate: float | None = None
    ) -> torch.optim.AdamW:
        """Return the policy's own optimiser, with its moments, at a learning rate.

        Args:
            rate: of the language model.
            value_rate: of the value head, if there is one; None is the same.
        """
        return self.optimiser.at(rate, rate if value_rate is None else value_rate)

    def optimizers(
        self,
        rate: float,
        schedule: Schedule = CONSTANT,
        *,
        value_rate: float | None = None,
    ) -> tuple[torch.optim.AdamW, LambdaLR]:
        """Return the optimiser and a schedule that goes on where the policy stands.

        Args:
            rate: of the language model, before the schedule's factor.
            schedule: how it changes over the policy's life.
            value_rate: of the value head, if there is one; None is the same.
        """
        adamw = self.optimizer(rate, value_rate=value_rate)
        return adamw, self.optimiser.schedule(adamw, schedule)

    def seed(self, seed: int) -> int:
        """Return a seed for something random in training.

        It depends on the number of updates, so that a policy that was stopped and loaded
        draws what it would have drawn.
        """
        text = f"{seed}/{self.updates}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) >> 1

    def model_weights(self) -> Weights:
        """Return the trained weights of the language model, or of its adapter, by name."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def head_weights(self) -> Weights:
        """Return the weights of the value head by name; none if there is no head."""
        if self._head is None:
            return {}
        return dict(self._head.named_parameters(prefix="value_head"))

    def trained_weights(self) -> Weights:
        """Return everything that training changes, by name."""
        return {**self.model_weights(), **self.head_weights()}

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Return a copy of what is trained, for `restore`."""
        named = self.trained_weights().items()
        return {name: weight.detach().clone() for name, weight in named}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take weights back, and forget the moments that led away from them."""
        with torch.no_grad():
            for name, weight in self.trained_weights().items():
                if name in weights:
                    weight.copy_(weights[name])
                else:  # a value head younger than the snapshot
                    weight.zero_()
        self.optimiser.forget()
        self.agent.refresh()

    # --- values and reference

    @property
    def has_value_head(self) -> bool:
        """Whether the policy has learned, or is about to learn, values."""
        return self._head is not None

    @property
    def value_head(self) -> ValueHead:
        """The value head; made, with all values 0, when first asked for."""
        if self._head is None:
            self._head = ValueHead.of(self.model)
        return self._head

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, *, keep: int = 0) -> Outlook:
        """Return logits and values from one pass, with gradients.

        Args:
            ids: [B, T] tokens, padded on either side.
            mask: [B, T] 1 where a token is real.
            keep: only the last so many positions are wanted; 0 means all.
        """
        return look(self.model, self.value_head, ids=ids, mask=mask, keep=keep)

    def values(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return values [B, T] after each position, float32, without gradients.

        Args:
            ids: [B, T] tokens, padded on either side.
            mask: [B, T] 1 where a token is real.
        """
        with torch.no_grad():
            return value(self.model, self.value_head, ids=ids, mask=mask)

    def reference_model(self) -> PreTrainedModel:
        """Return the untrained original, frozen: what divergence is measured against.

        With an adapter it is the base without any, which takes no memory; else a copy,
        made when first asked for and kept until `forget_reference`.

        Raises:
            InvalidOption: the policy has been trained, and its original is gone.
        """
        if self._reference is None:
            self._reference = original_of(self.agent, self._original)
        return self._reference

    def forget_reference(self) -> None:
        """Free the memory of the untrained original."""
        self._reference = None

    # --- tokens

    def prompt_ids(self, view: View) -> tuple[int, ...]:
        """Return the tokens that this policy reads for a view."""
        return tuple(self.agent.prompt_ids(view))

    def reply_ids(self, view: View, text: str) -> tuple[int, ...]:
        """Return the tokens with which this policy would have said a text to a view."""
        return self.agent.reply_ids(view, text)


def _check_ends(agent: TransformerAgent) -> None:
    """Refuse a tokenizer without an end; give one without padding its end for that."""
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


def _recompute(model: PreTrainedModel) -> None:
    if not model.supports_gradient_checkpointing:
        raise InvalidOption(
            f"{type(model).__name__} cannot recompute its activations; set recompute=False"
        )
    untyped: Any = model
    untyped.activation_checkpointing_enable({"use_reentrant": False})
