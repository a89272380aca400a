"""A policy: a causal LM that speaks through an agent, and the optimiser that trains it.

A checkpoint is a Hugging Face folder (safetensors, tokenizer, chat template) with the
optimiser's moments beside it. It is named by its content and appears whole or not at all.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.types import View

_MOMENTS = "optimizer.safetensors"
_STATE = "policy.json"


class Checkpoint(msgspec.Struct, frozen=True):
    """Where a policy lies, and what must be found there."""

    path: str
    """Folder, relative to the run; empty for the untrained original."""
    reference: str
    """The agent reference that the policy goes back to."""
    weights: str
    """Content hash of the weights."""
    optimizer: str = ""
    """Content hash of the optimiser's moments; empty before any training."""
    options: dict[str, Any] = {}
    """How the agent speaks: temperature, template, context."""
    agent: str = ""
    """Hash of the row in the table of agents."""


class Policy:
    """A causal LM in training.

    Args:
        agent: speaks; its model is changed in place.

    Raises:
        InvalidOption: a tokenizer without an end-of-sequence token.
    """

    def __init__(self, agent: TransformerAgent) -> None:
        if agent.tokenizer.eos_token_id is None:
            raise InvalidOption(
                f"{agent.reference} has no end-of-sequence token, so it could never learn to "
                "stop; set tokenizer.eos_token"
            )
        self.agent = agent
        self._optimizer: torch.optim.AdamW | None = None

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
        """The language model."""
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
        return Checkpoint("", self.reference, self.hash, options=self.agent.spec.options)

    def optimizer(self, rate: float) -> torch.optim.AdamW:
        """Return the policy's own optimiser, with its moments, at a learning rate."""
        if self._optimizer is None:
            self._optimizer = torch.optim.AdamW(
                self.model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0
            )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return self._optimizer

    def prompt_ids(self, view: View) -> tuple[int, ...]:
        """Return the tokens that this policy reads for a view."""
        return tuple(self.agent.prompt_ids(view))

    def reply_ids(self, view: View, text: str) -> tuple[int, ...]:
        """Return the tokens with which this policy would have said a text to a view."""
        return self.agent.reply_ids(view, text)

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Return a copy of the weights, for `restore`."""
        return {
            name: value.detach().clone() for name, value in self.model.state_dict().items()
        }

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take weights back, and forget the moments that led away from them."""
        self.model.load_state_dict(dict(weights))
        self._optimizer = None
        self.agent.refresh()

    def save(self, folder: Path) -> Checkpoint:
        """Write a checkpoint; the folder appears whole or not at all.

        Returns:
            What was written, with the folder's own name as the path.
        """
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        self.model.save_pretrained(partial)
        self.tokenizer.save_pretrained(partial)
        moments = _moments(self.model, self._optimizer)
        if moments:
            save_file(moments, partial / _MOMENTS)
        state = msgspec.structs.replace(
            self.origin,
            path=folder.name,
            optimizer=_file_hash(partial / _MOMENTS) if moments else "",
        )
        (partial / _STATE).write_text(json.dumps(msgspec.to_builtins(state), indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
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
            policy = cls(agent)
            moments = _file_hash(folder / _MOMENTS) if expected.optimizer else ""
        except (OSError, InvalidOption) as error:
            raise RecordDamaged(
                f"the checkpoint {folder} cannot be read ({error}); restore it from a copy, "
                "or start a new run"
            ) from error
        if policy.hash != expected.weights or moments != expected.optimizer:
            raise RecordDamaged(
                f"the checkpoint {folder} was altered: its content is not what the record "
                "names; restore it from a copy, or start a new run"
            )
        if moments:
            _take_moments(
                policy, load_file(folder / _MOMENTS, device=str(policy.model.device))
            )
        return policy


def _moments(
    model: torch.nn.Module, optimizer: torch.optim.AdamW | None
) -> dict[str, torch.Tensor]:
    """Return Adam's state by the names of the weights."""
    found: dict[str, torch.Tensor] = {}
    for name, weight in model.named_parameters():
        for key, value in (optimizer.state.get(weight, {}) if optimizer else {}).items():
            found[f"{key}:{name}"] = value.detach().cpu().contiguous()
    return found


def _take_moments(policy: Policy, found: Mapping[str, torch.Tensor]) -> None:
    weights = dict(policy.model.named_parameters())
    optimizer = policy.optimizer(0.0)
    for label, value in found.items():
        key, _, name = label.partition(":")
        # Adam counts its steps on the CPU, whatever the device of the weights.
        optimizer.state[weights[name]][key] = value.cpu() if key == "step" else value


def _file_hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
