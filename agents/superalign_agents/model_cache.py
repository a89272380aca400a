"""Process-wide cache of small models and tokenizers; each call returns a fresh copy.

A run reads its policies anew in every stage, so that a stage depends on the record alone.
Building a tiny model takes transformers ten times as long as copying one.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file

T = TypeVar("T")

MAX_BYTES = 16 * 2**20
"""Largest folder that is cached, in bytes on disk."""

_MAX_ENTRIES = 12

_objects: OrderedDict[Hashable, object] = OrderedDict()
_architectures: OrderedDict[Hashable, Any] = OrderedDict()
"""Configuration → a model of it, whose weights may be replaced."""

_WEIGHTS = "model.safetensors"
_CONFIGURATION = ("config.json", "generation_config.json")


def cached(
    source: str | Path,
    load: Callable[[], T],
    *key: Hashable,
    files: Sequence[str] = (),
) -> T:
    """Return what `load` returns, or a copy of what it returned for the same files.

    Args:
        source: folder that is read; anything else is loaded every time.
        load: reads it.
        *key: what the result depends on besides.
        files: all that is read, where it is little: folders with equal contents are one.
    """
    folder = Path(source)
    stamp = _stamp(folder)
    if stamp is None:
        return load()
    content: Hashable = (
        _contents(folder, files) if files else (str(folder.resolve()), stamp)
    )
    entry = (content, *key)
    if entry not in _objects:
        _objects[entry] = load()
        while len(_objects) > _MAX_ENTRIES:
            _objects.popitem(last=False)
    _objects.move_to_end(entry)
    result: T = copy.deepcopy(_objects[entry])  # type: ignore[assignment] # of the same key
    return result


def cached_model(source: str | Path, load: Callable[[], Any], *key: Hashable) -> Any:
    """Return the model that `load` returns, built from a cached one of the same shape.

    A checkpoint that a run has just written differs from the one before it in its weights.

    Args:
        source: folder with a whole small model; anything else is loaded.
        load: reads it.
        *key: what the model depends on besides its folder.
    """
    folder = Path(source)
    if _stamp(folder) is None or not (folder / _WEIGHTS).is_file():
        return load()
    entry = (_contents(folder, _CONFIGURATION), *key)
    if entry in _architectures:
        _architectures.move_to_end(entry)
        model = _with_weights(copy.deepcopy(_architectures[entry]), folder)
        if model is not None:
            return model
    model = _architectures[entry] = load()
    while len(_architectures) > _MAX_ENTRIES:
        _architectures.popitem(last=False)
    return copy.deepcopy(model)


def _with_weights(model: Any, folder: Path) -> Any:
    """Return the model with the weights of a folder; None if they are not of its shape."""
    try:
        weights = load_file(folder / _WEIGHTS)
    except SafetensorError:  # transformers says better what is wrong
        return None
    state = model.state_dict()
    if any(
        name not in state or state[name].shape != w.shape for name, w in weights.items()
    ):
        return None
    replaced = {state[name].data_ptr() for name in weights}
    if any(tensor.data_ptr() not in replaced for tensor in state.values()):
        return None
    model.load_state_dict(weights, strict=False)
    model.config._name_or_path = str(folder)
    return model


def _contents(folder: Path, names: Sequence[str]) -> tuple[bytes, ...]:
    paths = [folder / name for name in names]
    return tuple(path.read_bytes() if path.is_file() else b"" for path in paths)


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...] | None:
    """Return names, sizes and times of a folder's files; None for none, or a large one."""
    if not folder.is_dir():
        return None
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    if sum(stat.st_size for _, stat in stats) > MAX_BYTES:
        return None
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
