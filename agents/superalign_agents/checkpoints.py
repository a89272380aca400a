"""Safe loading of models and tokenizers, and content hashes of their weights.

Only safetensors are read and no code that comes with a model is ever run.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from transformers.utils import logging

from superalign_agents.devices import require_device
from superalign_agents.model_cache import cached, cached_model
from superalign_env.errors import InvalidOption

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")

_NOT_TOKENIZER = ("card.json", "config.json", "generation_config.json", "policy.json")

Attention = Literal["sdpa", "eager", "flash_attention_2"]

_SMALL_BYTES = 100_000_000
"""Weights that are read or written in well under a second."""


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
    model_dtype: torch.dtype | Literal["auto"] = dtype or (
        torch.float32 if torch.device(device).type == "cpu" else "auto"
    )

    def read() -> Any:
        return AutoModelForCausalLM.from_pretrained(
            str(source),
            dtype=model_dtype,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=attention,
        )

    try:
        with progress_hidden(_bytes_in(Path(source))):
            model = cached_model(source, read, model_dtype, attention)
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
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(source), trust_remote_code=False
        )
        return loaded

    try:
        tokenizer = cached(source, read, "tokenizer", files=_tokenizer_files(Path(source)))
    except (OSError, ValueError) as error:
        raise InvalidOption(
            f"{source} has no tokenizer that can be loaded: {error}"
        ) from error
    tokenizer.name_or_path = str(source)  # another folder may hold the same
    return tokenizer


def _tokenizer_files(folder: Path) -> list[str]:
    """Return the names of a tokenizer's files; none where it has no ``tokenizer.json``."""
    if not folder.is_dir():
        return []
    paths = [*folder.glob("*.json"), *folder.glob("*.jinja"), *folder.glob("*.txt")]
    names = sorted(path.name for path in paths if path.name not in _NOT_TOKENIZER)
    return names if "tokenizer.json" in names else []


def weights_hash(model: torch.nn.Module) -> str:
    """Return the content hash of a model's weights, 32 hex digits; see `tensors_hash`."""
    return tensors_hash(model.state_dict())


def tensors_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the content hash of tensors, 32 hex digits: names, shapes, dtypes and bytes.

    Tied weights, which lie in memory once, count once, under the name that comes first.
    """
    digest = hashlib.blake2b(digest_size=16)
    counted: set[int] = set()
    for name, tensor in sorted(tensors.items()):
        if tensor.data_ptr() in counted and tensor.numel() > 0:
            continue
        counted.add(tensor.data_ptr())
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().to("cpu").contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the content hash of a tokenizer, 32 hex digits: vocabulary, ends, template."""
    ends = (tokenizer.eos_token, tokenizer.pad_token, tokenizer.chat_template)
    words = sorted(tokenizer.get_vocab().items())
    named = json.dumps([words, ends], ensure_ascii=False).encode()
    return hashlib.blake2b(named, digest_size=16).hexdigest()


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder with any pickled file, such as an adapter or checkpoint of ours.

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
    """Refuse a tokenizer with more tokens than the model has embeddings.

    Raises:
        InvalidOption: it has.
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
    """Raise for a local folder that cannot be loaded safely, before anything is loaded."""
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


@contextmanager
def deprecations_hidden() -> Iterator[None]:
    """Hide warnings about the deprecated name by which peft and TRL ask transformers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*_gradient_checkpointing.*", FutureWarning)
        yield


@contextmanager
def progress_hidden(weights: int) -> Iterator[None]:
    """Show no progress bar for a small model; large ones may take minutes.

    Args:
        weights: bytes to be read or written; 0 if that is not known.
    """
    silence = 0 < weights < _SMALL_BYTES and logging.is_progress_bar_enabled()
    if silence:
        logging.disable_progress_bar()  # type: ignore[no-untyped-call] # theirs
    try:
        yield
    finally:
        if silence:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call] # theirs
