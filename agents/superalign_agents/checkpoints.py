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
from huggingface_hub import snapshot_download
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from superalign_agents.decoding import require_kv_cache
from superalign_agents.devices import require_device
from superalign_agents.model_cache import cached, cached_model
from superalign_agents.model_files import (
    READ,
    check_folder,
    check_tokenizer_folder,
    some,
)
from superalign_env.errors import InvalidOption, SuperalignError
from superalign_env.plain_text import inline, one_line

_NOT_TOKENIZER = ("card.json", "config.json", "generation_config.json", "policy.json")

Attention = Literal["sdpa", "eager", "flash_attention_2"]

_SMALL_BYTES = 100_000_000
"""Weights that are read or written in well under a second."""

_SAFE: dict[str, Any] = {
    "use_safetensors": True,
    "trust_remote_code": False,
    "local_files_only": True,
    "ignore_mismatched_sizes": True,  # they are refused by name afterwards
    "output_loading_info": True,
}


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
    folder = checked_folder(source)
    require_device(device)
    model_dtype: torch.dtype | Literal["auto"] = dtype or (
        torch.float32 if torch.device(device).type == "cpu" else "auto"
    )

    def read() -> Any:
        _check_architecture(folder, source)
        build: Any = AutoModelForCausalLM
        model, info = build.from_pretrained(
            str(folder),
            dtype=model_dtype,
            attn_implementation=attention,
            **_SAFE,
        )
        _refuse_incomplete(source, info)
        return model

    what = "a causal language model"
    with _in_one_sentence(source, what), progress_hidden(_bytes_in(folder)):
        model = cached_model(folder, read, model_dtype, attention)
    model.config._name_or_path = str(source)
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
    folder = checked_folder(source)
    require_device(device)
    with _in_one_sentence(source, "a classifier"), progress_hidden(_bytes_in(folder)):
        build: Any = AutoModelForSequenceClassification
        model, info = build.from_pretrained(str(folder), dtype="auto", **_SAFE)
        if info["missing_keys"]:
            raise InvalidOption(
                f"{source} has no trained classification head "
                f"({', '.join(sorted(info['missing_keys']))} is missing); give a sequence "
                "classifier, or a reward model that superalign trained"
            )
        _refuse_incomplete(source, info)
    loaded: PreTrainedModel = model.to(device).eval()
    return loaded


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a model.

    Raises:
        InvalidOption: there is none, or it would need its own code.
    """
    folder = _folder_of(source)
    check_tokenizer_folder(folder)

    def read() -> PreTrainedTokenizerBase:
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=False
        )
        return loaded

    try:
        tokenizer = cached(folder, read, "tokenizer", files=_tokenizer_files(folder))
    except Exception as error:
        raise InvalidOption(
            f"{folder / 'tokenizer.json'} or a file beside it holds no tokenizer that can be "
            f"loaded ({_reason(error)}); download or copy them again"
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


def _folder_of(source: str | Path) -> Path:
    """Return a folder itself, or where the hub's cache keeps the model of that name.

    Of a model of the hub only what may be read is downloaded: no code, no pickle.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(
            snapshot_download(
                str(source),
                allow_patterns=list(READ),
                ignore_patterns=["*/*", "consolidated*"],
            )
        )
    except Exception as error:
        raise InvalidOption(
            f"{source} cannot be loaded: it is no folder here, and no model of the hub that "
            f"can be read ({_reason(error)})"
        ) from error


def checked_folder(source: str | Path) -> Path:
    """Return the folder of a model, checked before anything is loaded from it.

    Raises:
        InvalidOption: there is none, or it cannot be loaded safely.
    """
    folder = _folder_of(source)
    of_hub = not Path(source).is_dir()
    # The cache of the hub is links to blobs two folders up.
    check_folder(folder, inside=folder.parent.parent if of_hub else folder)
    return folder


def _check_architecture(folder: Path, source: str | Path) -> None:
    """Refuse an architecture without a KV cache, or far more weights than the files hold.

    It is built without memory for its weights.
    """
    config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    build: Any = AutoModelForCausalLM
    with torch.device("meta"):
        skeleton = build.from_config(config, trust_remote_code=False)
    require_kv_cache(skeleton, name=str(source))
    parameters = sum(weight.numel() for weight in skeleton.parameters())
    bytes_held = _bytes_in(folder)
    # Four bits are the fewest that a stored number takes; an untied head may be missing.
    if parameters > 2 * bytes_held + _SMALL_BYTES // 10:
        raise InvalidOption(
            f"{folder / 'config.json'} describes {parameters} weights, but the files beside it "
            f"hold {bytes_held} bytes; configuration and weights do not belong together"
        )


def _refuse_incomplete(source: str | Path, info: Mapping[str, Any]) -> None:
    """Refuse weights that are missing or of another shape; name those that nothing reads."""
    if info["missing_keys"]:
        raise InvalidOption(
            f"{source} misses weights ({some(sorted(info['missing_keys']))}), which would be "
            "random; download the folder again, or save the model with its head (a base model "
            "without lm_head cannot speak)"
        )
    if info["mismatched_keys"]:
        names = sorted(str(key[0]) for key in info["mismatched_keys"])
        raise InvalidOption(
            f"{source} has weights of other sizes than its config.json says ({some(names)}); "
            "configuration and weights do not belong together"
        )
    if info["unexpected_keys"]:
        warnings.warn(
            inline(
                f"{source} holds weights that its architecture does not read: "
                f"{some(sorted(info['unexpected_keys']))}"
            ),
            RuntimeWarning,
            stacklevel=5,
        )


@contextmanager
def _in_one_sentence(source: str | Path, what: str) -> Iterator[None]:
    """Turn whatever a damaged folder makes a library raise into one sentence."""
    try:
        yield
    except (SuperalignError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise InvalidOption(
            f"{source} cannot be loaded as {what}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """Return an error's own words as one line."""
    said = one_line(str(error), 300).rstrip(".")
    return (
        said
        if isinstance(error, (OSError, ValueError))
        else f"{type(error).__name__}: {said}"
    )


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
