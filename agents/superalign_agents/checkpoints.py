"""Loading causal LMs safely, and naming weights by their content.

Only safetensors are read and no code that comes with a model is ever run.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from superalign_agents.devices import require_device
from superalign_agents.pristine import alike, once
from superalign_agents.upstream import progress_hidden
from superalign_env.errors import InvalidOption

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")

_NO_WORDS = ("card.json", "config.json", "generation_config.json", "policy.json")

Attention = Literal["sdpa", "eager", "flash_attention_2"]


def load_model(
    source: str | Path,
    *,
    device: str,
    dtype: torch.dtype | None = None,
    attention: Attention | None = None,
) -> PreTrainedModel:
    """Load a causal LM from a folder or from the hub.

    Args:
        source: folder, or ``org/name`` on the hub.
        device: where it shall live.
        dtype: None means float32 on a CPU and the checkpoint's own type elsewhere.
        attention: which implementation computes it; None is transformers' choice.

    Raises:
        InvalidOption: no safetensors, a model that would need its own code, or a device or
            an attention that the model or this machine does not have.
    """
    _refuse_unsafe(source)
    require_device(device)
    wanted: torch.dtype | Literal["auto"] = dtype or (
        torch.float32 if torch.device(device).type == "cpu" else "auto"
    )

    def read() -> Any:
        return AutoModelForCausalLM.from_pretrained(
            str(source),
            dtype=wanted,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
        )

    try:
        with progress_hidden(_bytes_in(Path(source))):
            model = alike(source, read, wanted, attention)
    except (OSError, ValueError, ImportError) as error:
        raise InvalidOption(
            f"{source} cannot be loaded as a causal language model: {error}"
        ) from error
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def load_classifier(source: str | Path, *, device: str) -> PreTrainedModel:
    """Load a sequence classifier from a folder or from the hub.

    Args:
        source: folder, or ``org/name`` on the hub.
        device: where it shall live.

    Raises:
        InvalidOption: no safetensors, a model that would need its own code or has no trained
            classification head, or a device that is not here.
    """
    _refuse_unsafe(source)
    require_device(device)
    try:
        with progress_hidden(_bytes_in(Path(source))):
            build: Any = AutoModelForSequenceClassification
            model, info = build.from_pretrained(
                str(source),
                dtype="auto",
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, ImportError) as error:
        raise InvalidOption(
            f"{source} cannot be loaded as a classifier: {error}"
        ) from error
    if info["missing_keys"]:
        raise InvalidOption(
            f"{source} has no trained classification head "
            f"({', '.join(sorted(info['missing_keys']))} is missing); give a sequence "
            "classifier, or a reward model that superalign trained"
        )
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a model.

    Raises:
        InvalidOption: there is none, or it would need its own code.
    """

    def read() -> PreTrainedTokenizerBase:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(source), trust_remote_code=False
        )
        return found

    try:
        tokenizer = once(source, read, "tokenizer", files=_words_of(Path(source)))
    except (OSError, ValueError) as error:
        raise InvalidOption(
            f"{source} has no tokenizer that can be loaded: {error}"
        ) from error
    tokenizer.name_or_path = str(source)  # another folder may hold the same
    return tokenizer


def _words_of(folder: Path) -> list[str]:
    """Return the names of the files that make a tokenizer: all but weights and notes."""
    if not folder.is_dir():
        return []
    found = [*folder.glob("*.json"), *folder.glob("*.jinja"), *folder.glob("*.txt")]
    names = sorted(place.name for place in found if place.name not in _NO_WORDS)
    return names if "tokenizer.json" in names else []


def weights_hash(model: torch.nn.Module) -> str:
    """Return 32 hex digits that name the weights: names, shapes, types and bytes.

    Tied weights count once, under the name that comes first.
    """
    return tensors_hash(model.state_dict())


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return 32 hex digits that name tensors: names, shapes, types and bytes.

    What lies in memory once counts once, under the name that comes first.
    """
    digest = hashlib.blake2b(digest_size=16)
    seen: set[int] = set()
    for name, tensor in sorted(tensors.items()):
        if tensor.data_ptr() in seen and tensor.numel() > 0:
            continue
        seen.add(tensor.data_ptr())
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().to("cpu").contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return 32 hex digits that name a tokenizer: its words, their numbers, its ends."""
    ends = (tokenizer.eos_token, tokenizer.pad_token, tokenizer.chat_template)
    words = sorted(tokenizer.get_vocab().items())
    named = json.dumps([words, ends], ensure_ascii=False).encode()
    return hashlib.blake2b(named, digest_size=16).hexdigest()


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder with any pickled file in it.

    For folders that should hold nothing of the kind: adapters and checkpoints of ours.

    Raises:
        InvalidOption: there is one.
    """
    pickles = _pickles(folder)
    if pickles:
        raise InvalidOption(
            f"{folder} holds pickled files ({', '.join(pickles)}), which can run any code "
            "when loaded; only safetensors are read here: convert or remove them"
        )


def check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that can say more than a model has embeddings for.

    Raises:
        InvalidOption: so it is.
    """
    untyped: Any = model
    rows = int(untyped.get_input_embeddings().weight.shape[0])
    if rows < len(tokenizer):
        raise InvalidOption(
            f"the tokenizer has {len(tokenizer)} tokens, but the model embeds only {rows}: "
            "they do not belong together; take the tokenizer that was saved with the model, "
            "or call model.resize_token_embeddings"
        )


def _bytes_in(folder: Path) -> int:
    """Return the size of a local folder's weights; 0 for a model of the hub."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _pickles(folder: Path) -> list[str]:
    return sorted(path.name for glob in _PICKLES for path in folder.rglob(glob))


def _refuse_unsafe(source: str | Path) -> None:
    """Explain, before anything is loaded, why a local folder will not be."""
    folder = Path(source)
    if not folder.is_dir():
        return
    if not (folder / "config.json").is_file():
        raise InvalidOption(
            f"{folder} holds no config.json; give a Hugging Face model folder"
        )
    if any(folder.glob("*.safetensors")):
        return
    pickles = _pickles(folder)
    if pickles:
        raise InvalidOption(
            f"{folder} holds only pickled weights ({', '.join(pickles)}), which can run "
            "any code when loaded; convert them to safetensors first "
            "(model.save_pretrained(folder) in an environment that you trust)"
        )
    raise InvalidOption(f"{folder} holds no *.safetensors weights")
