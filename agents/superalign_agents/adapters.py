"""LoRA adapters on one base model that is in memory once.

Every adapter gets a twin of the base: new modules around the very same weight tensors, a
few milliseconds and no memory. So any number of adapters, of any rank, play and train side
by side: none is ever switched on or off, a trainer finds an ordinary model of which only
the adapter can be trained, and the base itself is the reference policy.
What was left out: one batch through several adapters at once.
"""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.checkpoints import (
    deprecations_hidden,
    tensors_hash,
    weights_hash,
)
from superalign_agents.model_files import refuse_pickles, tensor_shapes
from superalign_env.errors import InvalidOption
from superalign_env.plain_text import one_line

if TYPE_CHECKING:  # takes seconds to import
    from peft import LoraConfig, PeftModel

WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
"""Both as peft names them."""


class SharedBase:
    """Frozen base model of any number of adapters.

    Args:
        model: is frozen; nothing changes its weights from now on.
        tokenizer: belongs to it.
        reference: what the base is called in records, ``micro/3``.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, reference: str
    ) -> None:
        model.requires_grad_(False)
        model.train(False)
        self.model = model
        self.tokenizer = tokenizer
        self.reference = reference
        self.hash = weights_hash(model)
        """Content hash of the base's weights."""

    def twin(self) -> PreTrainedModel:
        """Return another model on the same weight tensors."""
        shared = (*self.model.parameters(), *self.model.buffers())
        return copy.deepcopy(self.model, {id(tensor): tensor for tensor in shared})

    def is_unchanged(self) -> bool:
        """Whether the weights are what they were in the beginning."""
        return weights_hash(self.model) == self.hash


class Adapter:
    """A LoRA adapter and the twin of the base that it sits in.

    Made by `fresh_adapter` and `read_adapter`.
    """

    def __init__(self, base: SharedBase, peft_model: "PeftModel") -> None:
        self.base = base
        inner: Any = peft_model.get_base_model()
        self.model: PreTrainedModel = inner
        """An ordinary causal LM; only the adapter's weights require gradients."""
        self._peft = peft_model
        for name, weight in self.model.named_parameters():
            weight.requires_grad_(".default." in name)
        self.model.train(False)  # peft leaves dropout on

    @property
    def settings(self) -> "LoraConfig":
        """Rank, alpha and targets, as peft has them."""
        config: Any = self._peft.peft_config["default"]
        return config  # type: ignore[no-any-return] # peft leaves it untyped

    @property
    def hash(self) -> str:
        """Content hash of base, adapter and the scale at which it is added."""
        settings = self.settings
        scale = (settings.r, float(settings.lora_alpha), settings.use_rslora)
        named = f"{self.base.hash}{scale}{tensors_hash(self.weights())}"
        return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the adapter's tensors by peft's names."""
        from peft import get_peft_model_state_dict  # noqa: PLC0415 (heavy)

        tensors: dict[str, torch.Tensor] = get_peft_model_state_dict(self._peft)
        return tensors

    def save(self, folder: Path) -> None:
        """Write the adapter as peft does; the base's hash stands in the weights' header."""
        settings = copy.copy(self.settings)
        settings.base_model_name_or_path = self.base.reference
        if not isinstance(settings.target_modules, (str, type(None))):
            settings.target_modules = sorted(settings.target_modules)  # a set until now
        settings.inference_mode = True
        settings.save_pretrained(str(folder))
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.weights().items()
        }
        # One entry alone: safetensors writes several in no certain order.
        save_file(tensors, folder / WEIGHTS, {"base": self.base.hash})


def fresh_adapter(base: SharedBase, settings: "LoraConfig", *, seed: int) -> Adapter:
    """Return an adapter that changes nothing yet.

    Args:
        base: its base model.
        settings: rank, alpha and targets.
        seed: of its first weights.

    Raises:
        InvalidOption: targets that the base does not have.
    """
    from peft import get_peft_model  # noqa: PLC0415 (heavy)

    with torch.random.fork_rng(devices=[]), deprecations_hidden():
        torch.manual_seed(seed & 0x7FFFFFFF)
        try:
            peft_model: Any = get_peft_model(base.twin(), settings)
        except (ValueError, TypeError, AttributeError, re.error) as error:
            raise InvalidOption(
                f"no adapter fits {base.reference}: {one_line(str(error), 300)}"
            ) from error
    return Adapter(base, peft_model)


def read_adapter(base: SharedBase, folder: Path) -> Adapter:
    """Read an adapter that was saved for this base.

    Args:
        base: its base model.
        folder: as peft or `Adapter.save` writes it; safetensors only.

    Raises:
        InvalidOption: missing files, pickled ones, an adapter of another kind, of another
            base, or of another shape.
    """
    from peft import set_peft_model_state_dict  # noqa: PLC0415 (heavy)

    tensors = _checked_tensors(base, folder)
    rank = max((max(tensor.shape, default=0) for tensor in tensors.values()), default=0)
    adapter = fresh_adapter(base, _settings(folder, rank), seed=0)
    shapes = {name: tensor.shape for name, tensor in adapter.weights().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
        raise InvalidOption(
            f"the adapter in {folder} has weights of other names or shapes than "
            f"{base.reference} takes; it was made for another model"
        )
    set_peft_model_state_dict(adapter._peft, tensors)
    return adapter


def _checked_tensors(base: SharedBase, folder: Path) -> Mapping[str, torch.Tensor]:
    """Return an adapter's tensors, checked to belong to the base."""
    refuse_pickles(folder)
    if not (folder / SETTINGS).is_file() or not (folder / WEIGHTS).is_file():
        raise InvalidOption(
            f"{folder} holds no adapter; {SETTINGS} and {WEIGHTS} are needed"
        )
    tensor_shapes(folder / WEIGHTS)
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InvalidOption(f"{folder / WEIGHTS} cannot be read: {error}") from error
    if metadata.get("base", base.hash) != base.hash:
        raise InvalidOption(
            f"the adapter in {folder} was trained on the base {metadata['base'][:12]}…, but "
            f"{base.reference} is {base.hash[:12]}… here; load the base that it names"
        )
    return tensors


_REFUSED_SETTINGS = ("megatron_config", "layer_replication", "loftq_config", "auto_mapping")
"""Settings of peft that import modules by name, multiply layers or read other files."""


def _settings(folder: Path, rank: int) -> "LoraConfig":
    """Return an adapter's settings, checked before peft builds anything by them.

    Args:
        folder: of the adapter.
        rank: largest rank that its weights have.
    """
    from peft import LoraConfig  # noqa: PLC0415 (heavy)

    path = folder / SETTINGS
    try:
        raw = json.loads(path.read_text("utf-8"))
        if raw.get("peft_type") != "LORA":
            raise InvalidOption(
                f"{folder} holds an adapter of type {raw.get('peft_type')}; only LORA is known"
            )
        refused = [name for name in _REFUSED_SETTINGS if raw.get(name)]
        if refused:
            raise InvalidOption(
                f"{path} sets {refused[0]}, which is not read here; remove it"
            )
        ranks = [raw.get("r"), *(raw.get("rank_pattern") or {}).values()]
        if not all(type(r) is int and 1 <= r <= rank for r in ranks):
            raise InvalidOption(
                f"{path} says rank {one_line(str(ranks[0]), 40)}, but the weights have up to "
                f"{rank}; settings and weights do not belong together"
            )
        settings: LoraConfig = LoraConfig.from_pretrained(str(folder))
        settings.base_model_name_or_path = None  # peft would compare it with a path
        settings.init_lora_weights = True  # the weights are at hand
    except Exception as error:
        if isinstance(error, InvalidOption):
            raise
        raise InvalidOption(
            f"{path} cannot be read ({one_line(str(error), 200)}); copy it again"
        ) from error
    return settings
