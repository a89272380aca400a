"""A policy: a causal LM that speaks through an agent, and all that trains it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.types import View
from superalign_training.policy import checkpoint as layout
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.checkpoint import Checkpoint
from superalign_training.policy.optimiser import (
    adamw,
    moments,
    scheduler,
    set_rate,
    take_moments,
)
from superalign_training.policy.outlook import Outlook, ValueHead, look, value
from superalign_training.policy.reference import original_of
from superalign_training.policy.schedule import CONSTANT, Schedule


class Policy:
    """A causal LM in training.

    Args:
        agent: speaks; its model is changed in place.
        original: content hash of the weights before any training; None: as they are.

    Raises:
        InvalidOption: a tokenizer without an end-of-sequence token.
    """

    def __init__(self, agent: TransformerAgent, *, original: str | None = None) -> None:
        if agent.tokenizer.eos_token_id is None:
            raise InvalidOption(
                f"{agent.reference} has no end-of-sequence token, so it could never learn to "
                "stop; set tokenizer.eos_token"
            )
        self.agent = agent
        self.baselines = Baselines()
        self.updates = 0
        """Optimiser steps ever taken."""
        self._original = original or agent.policy
        self._optimizer: torch.optim.AdamW | None = None
        self._head: ValueHead | None = None
        self._reference: PreTrainedModel | None = None

    @classmethod
    def from_reference(
        cls, reference: str | Mapping[str, Any], *, device: str = "cpu", **options: Any
    ) -> Self:
        """Return the policy that an agent reference names.

        Args:
            reference: ``micro/3``, a folder, ``hf:org/name``, or a mapping with an id.
            device: where the model shall live.
            **options: further options of `TransformerAgent`, such as the temperature.

        Raises:
            UnknownId: nothing is called so.
            InvalidOption: what is called so has no weights to train.
        """
        given = {"id": reference} if isinstance(reference, str) else dict(reference)
        try:
            agent = make_agent({"device": device, **options, **given})
        except InvalidOption as error:
            raise InvalidOption(f"{given.get('id')} cannot be trained: {error}") from error
        if not isinstance(agent, TransformerAgent):
            raise InvalidOption(
                f"{given['id']} has no weights to train; name a rung (micro/3), a model "
                "folder or hf:org/name"
            )
        return cls(agent)

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
    def hash(self) -> str:
        """Content hash of the weights as they are now."""
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
        )

    # --- training

    @contextmanager
    def training(self) -> Iterator[PreTrainedModel]:
        """Yield the model, ready to be trained; afterwards it is ready to speak.

        TRL's trainers put a `forward` of their own on the model and leave it there; it is
        taken off, or a policy trained for many rounds would call through all of them.
        """
        before = self.model.__dict__.get("forward")
        self.model.train(True)
        try:
            yield self.model
        finally:
            self.model.__dict__.pop("forward", None)
            if before is not None:
                self.model.__dict__["forward"] = before
            for weight in self._trained().values():
                weight.grad = None
            self.model.train(False)
            self.agent.refresh()

    def optimizer(
        self, rate: float, *, value_rate: float | None = None
    ) -> torch.optim.AdamW:
        """Return the policy's own optimiser, with its moments, at a learning rate.

        Args:
            rate: of the language model.
            value_rate: of the value head, if there is one; None is the same.
        """
        if self._optimizer is None:
            self._optimizer = adamw(self._weights(), self._head_weights())
            self._optimizer.register_step_post_hook(self._count)
        set_rate(self._optimizer, rate, rate if value_rate is None else value_rate)
        return self._optimizer

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
        optimizer = self.optimizer(rate, value_rate=value_rate)
        return optimizer, scheduler(optimizer, schedule, done=self.updates)

    def seed(self, seed: int) -> int:
        """Return a seed for something random in training.

        It depends on the number of updates, so that a policy that was stopped and loaded
        draws what it would have drawn.
        """
        text = f"{seed}/{self.updates}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) >> 1

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
            if self._optimizer is not None:
                self._optimizer.add_param_group({"params": list(self._head.parameters())})
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

        It is made when first asked for and kept until `forget_reference`.

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

    # --- keeping

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Return a copy of what is trained, for `restore`."""
        return {name: value.detach().clone() for name, value in self._trained().items()}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take weights back, and forget the moments that led away from them."""
        with torch.no_grad():
            for name, weight in self._trained().items():
                if name in weights:
                    weight.copy_(weights[name])
                else:  # a value head younger than the snapshot
                    weight.zero_()
        self._optimizer = None
        self.agent.refresh()

    def save(self, folder: Path) -> Checkpoint:
        """Write a checkpoint; the folder appears whole or not at all.

        Returns:
            What was written, with the folder's own name as the path.
        """
        with layout.appearing(folder) as partial:
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            kept = moments(self._optimizer, self._trained())
            head = {
                name: weight.detach().cpu() for name, weight in self._head_weights().items()
            }
            for name, tensors in ((layout.MOMENTS, kept), (layout.HEAD, head)):
                if tensors:
                    save_file(tensors, partial / name)
            state = msgspec.structs.replace(
                self.origin,
                path=folder.name,
                optimizer=layout.file_hash(partial / layout.MOMENTS) if kept else "",
                head=layout.file_hash(partial / layout.HEAD) if head else "",
                updates=self.updates,
                baselines=self.baselines.plain(),
            )
            (partial / layout.STATE).write_text(
                json.dumps(msgspec.to_builtins(state), indent=1)
            )
        return state

    @classmethod
    def load(cls, folder: Path, expected: Checkpoint, *, device: str = "cpu") -> Self:
        """Read a checkpoint and check it against what was recorded.

        Args:
            folder: where it lies.
            expected: what the record says of it.
            device: where the model shall live.

        Raises:
            RecordDamaged: it is missing, or is not what was written.
        """
        try:
            agent = TransformerAgent(
                folder, reference=expected.reference, device=device, **expected.options
            )
            policy = cls(agent, original=expected.original or None)
            kept = layout.file_hash(folder / layout.MOMENTS) if expected.optimizer else ""
            head = layout.file_hash(folder / layout.HEAD) if expected.head else ""
        except (OSError, InvalidOption) as error:
            raise RecordDamaged(
                f"the checkpoint {folder} cannot be read ({error}); restore it from a copy, "
                "or start a new run"
            ) from error
        if (policy.hash, kept, head) != (
            expected.weights,
            expected.optimizer,
            expected.head,
        ):
            raise RecordDamaged(
                f"the checkpoint {folder} was altered: its content is not what the record "
                "names; restore it from a copy, or start a new run"
            )
        policy.updates = expected.updates
        policy.baselines = Baselines(expected.baselines)
        if head:
            policy._take_head(load_file(folder / layout.HEAD))
        if kept:
            take_moments(
                policy.optimizer(0.0), load_file(folder / layout.MOMENTS), policy._trained()
            )
        return policy

    def _take_head(self, found: Mapping[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.value_head.named_parameters(prefix="value_head"):
                weight.copy_(found[name])

    def _weights(self) -> dict[str, torch.nn.Parameter]:
        """Return the trained weights of the language model."""
        named = self.model.named_parameters()
        return {name: weight for name, weight in named if weight.requires_grad}

    def _head_weights(self) -> dict[str, torch.nn.Parameter]:
        if self._head is None:
            return {}
        return dict(self._head.named_parameters(prefix="value_head"))

    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {**self._weights(), **self._head_weights()}

    def _count(self, *_: object) -> None:
        self.updates += 1
