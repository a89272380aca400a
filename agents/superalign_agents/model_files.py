"""Checks of a model folder before anything in it is loaded.

Only safetensors and JSON are read, and only from the folder itself. What a file claims of
itself (sizes, shapes, names of other files) is compared with what is there, so that a
truncated, altered or hostile folder costs one sentence and no memory.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from superalign_env.errors import InvalidOption
from superalign_env.plain_text import one_line

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

_NOT_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
"""Pickles that a trainer leaves beside a model; nothing reads them."""

_JSON_FILES = (
    CONFIG,
    INDEX,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
"""Files that must be JSON objects where they are."""

_TOKENIZERS = ("tokenizer.json", "*.model", "*.tiktoken", "vocab.*", "*-vocab.json")

READ = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.tiktoken")
"""Names of files that are read at all."""

_MAGIC = {
    b"GGUF": "a GGUF file: convert it with transformers (from_pretrained(…, gguf_file=…))",
    b"PK\x03\x04": "a pickled checkpoint, which can run any code when loaded",
    b"\x80\x02": "a pickle, which can run any code when loaded",
    b"vers": "a pointer of git-lfs: run `git lfs pull`",
}

_MAX_HEADER = 100_000_000
"""Longest header that the safetensors library reads, in bytes."""

_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "U16": 2, "I16": 2,
    "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
"""Bytes of one number, by its type's name in a header."""

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "n_embd",
    "d_model",
    "n_inner",
    "ffn_dim",
    "head_dim",
    "num_attention_heads",
    "num_key_value_heads",
    "n_head",
    "num_heads",
    "num_experts",
    "num_local_experts",
    "num_labels",
)
_LENGTHS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")
"""Names under which configurations keep sizes, and lengths that cost no weights."""


def check_folder(folder: Path, *, inside: Path | None = None) -> None:
    """Refuse a model folder that cannot be loaded, or not safely.

    Args:
        folder: of a causal language model or a classifier.
        inside: folder that links may not leave; itself when absent.

    Raises:
        InvalidOption: names the file and says what to do.
    """
    if not (folder / CONFIG).is_file():
        raise InvalidOption(f"{folder} holds no {CONFIG}; give a Hugging Face model folder")
    _refuse_code(folder)
    _refuse_links(folder, (inside or folder).resolve())
    contents = {
        name: _json_object(folder / name)
        for name in _JSON_FILES
        if (folder / name).exists()
    }
    if (folder / "adapter_config.json").exists():
        raise InvalidOption(
            f"{folder / 'adapter_config.json'} makes this the folder of an adapter; name the "
            "base model, with adapter=FOLDER"
        )
    files = _weight_files(folder, contents.get(INDEX))
    shapes = {name: shape for path in files for name, shape in tensor_shapes(path).items()}
    if INDEX in contents and WEIGHTS not in {path.name for path in files}:
        _check_index(folder, contents[INDEX]["weight_map"], shapes)
    _check_sizes(folder / CONFIG, contents[CONFIG], shapes)
    _check_ends(folder / "generation_config.json", contents.get("generation_config.json"))


def check_tokenizer_folder(folder: Path) -> None:
    """Refuse a folder without a tokenizer, or with one that needs code or a pickle.

    Raises:
        InvalidOption: names the file and says what to do.
    """
    _refuse_code(folder)
    for name in _JSON_FILES:
        if name not in (CONFIG, INDEX) and (folder / name).exists():
            content = _json_object(folder / name)
            longest = content.get("model_max_length", 1)
            if not isinstance(longest, (int, float)):
                raise InvalidOption(
                    f"{folder / name}: model_max_length is {one_line(repr(longest), 40)}; it "
                    "must be a number of tokens"
                )
    if not any(path for glob in _TOKENIZERS for path in folder.glob(glob)):
        raise InvalidOption(
            f"{folder} holds no tokenizer: tokenizer.json is missing; save it there with "
            "tokenizer.save_pretrained, or download the folder again"
        )


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder with any pickled file, such as an adapter or checkpoint of ours.

    Raises:
        InvalidOption: there is one.
    """
    pickles = sorted(p.name for p in folder.rglob("*") if p.suffix.lower() in _PICKLES)
    if pickles:
        raise InvalidOption(
            f"{folder} holds pickled files ({', '.join(pickles)}), which can run any code "
            "when loaded; only safetensors are read here: convert or remove them"
        )


def _refuse_code(folder: Path) -> None:
    """Raise where code, or what may become code when it is loaded, lies in a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py":
            raise InvalidOption(
                f"{path} is code that came with a model, which is never run here; where "
                "transformers knows the architecture itself, remove the file and the "
                "auto_map of config.json"
            )
        if path.suffix.lower() in _PICKLES and not path.name.startswith(_NOT_WEIGHTS):
            safe = any(folder.glob("*.safetensors"))
            advice = (
                "remove it: the safetensors beside it are enough"
                if safe
                else "convert them to safetensors first (model.save_pretrained(folder) in an "
                "environment that you trust)"
            )
            raise InvalidOption(
                f"{path} is pickled, which can run any code when loaded; only safetensors are "
                f"read here: {advice}"
            )


def _refuse_links(folder: Path, inside: Path) -> None:
    for path in sorted(p for glob in READ for p in folder.glob(glob)):
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise InvalidOption(
                f"{path} is a link to a file outside its folder; copy the file instead"
            )
        if not path.is_file():  # a folder, a pipe, a device: reading may never end
            raise InvalidOption(f"{path} is no plain file; download or copy it again")


def _json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        InvalidOption: it is none.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidOption(
            f"{path} cannot be read ({one_line(str(error), 120)}); download or copy it again"
        ) from error
    if not isinstance(content, dict):
        raise InvalidOption(f"{path} is no JSON object; download or copy it again")
    return content


def _weight_files(folder: Path, index: Mapping[str, Any] | None) -> list[Path]:
    """Return the files with weights: one, or those that an index names."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if index is None:
        raise InvalidOption(
            f"{folder} holds neither {WEIGHTS} nor {INDEX}; download or copy it again, or "
            "save the model there with model.save_pretrained"
        )
    named = index.get("weight_map")
    if not isinstance(named, dict) or not named:
        raise InvalidOption(f"{folder / INDEX} has no weight_map; download it again")
    files = sorted({str(name) for name in named.values()})
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InvalidOption(
                f"{folder / INDEX} names {name!r}; weights are safetensors in the folder "
                "itself: convert or move them"
            )
        if not (folder / name).is_file():
            raise InvalidOption(
                f"{folder / name} is missing, though {INDEX} names it; download the rest of "
                "the folder"
            )
    return [folder / name for name in files]


def _check_index(folder: Path, named: Mapping[str, str], shapes: Mapping[str, Any]) -> None:
    missing = sorted(set(named) - set(shapes))
    if missing:
        raise InvalidOption(
            f"{folder / INDEX} names weights that no file holds ({some(missing)}); download "
            "the folder again"
        )


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name → shape from a header that agrees with its file.

    Raises:
        InvalidOption: the file is no safetensors file, ends early, or its header lies.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        for magic, what in _MAGIC.items():
            if start.startswith(magic):
                raise InvalidOption(f"{path} is {what}")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(_MAX_HEADER, size - 8):
            raise _ends_early(path, size)
        try:
            header = json.loads(file.read(length))
            entries = {k: v for k, v in header.items() if k != "__metadata__"}
            shapes = {name: _shape(entry) for name, entry in entries.items()}
            spans = sorted(tuple(entry["data_offsets"]) for entry in entries.values())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidOption(
                f"{path} is no safetensors file (its header: {one_line(str(error), 120)}); "
                "download or copy it again"
            ) from error
    end = 0
    for begin, stop in spans:
        if begin != end:
            raise InvalidOption(
                f"{path} has tensors that overlap or leave gaps; copy it again"
            )
        end = stop
    if end != size - 8 - length:
        raise _ends_early(path, size, 8 + length + end)
    return shapes


def _shape(entry: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a header's entry, checked against its bytes."""
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise ValueError("a shape or an offset is no whole number ≥ 0")
    if math.prod(shape) * _BYTES[entry["dtype"]] != end - begin:
        raise ValueError("a tensor has other bytes than its shape needs")
    return tuple(shape)


def _ends_early(path: Path, size: int, expected: int = 0) -> InvalidOption:
    whole = f" of {expected}" if expected else ""
    return InvalidOption(
        f"{path} is not whole ({size} bytes{whole}); download or copy it again"
    )


def _check_sizes(
    path: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a configuration of more layers or larger sizes than the weights have."""
    if not isinstance(config.get("model_type"), str):
        raise InvalidOption(f"{path} names no model_type; download or copy it again")
    elements = sum(math.prod(shape) for shape in shapes.values())
    for name, value in _items(config):
        if "_implementation" in name and isinstance(value, str) and "/" in value:
            raise InvalidOption(
                f"{path} asks for code of the hub ({name}: {one_line(value)}), which is never "
                "run here; remove that line"
            )
        layers = name.startswith(("n_", "num_", "decoder_", "encoder_")) and "layer" in name
        if type(value) not in (int, float) or not (layers or name in (*_SIZES, *_LENGTHS)):
            continue  # transformers checks the type before it builds anything
        if type(value) is not int or value < (0 if layers else 1):
            raise InvalidOption(
                f"{path}: {name} is {one_line(repr(value), 40)}; it must be a whole number ≥ 1"
            )
        if (layers and value > len(shapes)) or (name not in _LENGTHS and value > elements):
            raise InvalidOption(
                f"{path}: {name} is {one_line(repr(value), 40)}, but the weights are "
                f"{len(shapes)} tensors of {elements} numbers in all; configuration and "
                "weights do not belong together"
            )


def _items(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield names and values, those of sections too."""
    for name, value in config.items():
        yield name, value
        if isinstance(value, dict):
            yield from _items(value)


def _check_ends(path: Path, generation: Mapping[str, Any] | None) -> None:
    """Refuse end tokens that are no token ids."""
    ends = (generation or {}).get("eos_token_id")
    for end in ends if isinstance(ends, list) else [ends]:
        if end is not None and (type(end) is not int or end < 0):
            raise InvalidOption(
                f"{path}: eos_token_id is {one_line(repr(ends), 60)}; it must be a token id, or "
                "a list of them"
            )


def some(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and how many there are besides."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(one_line, listed[:most])) + more
