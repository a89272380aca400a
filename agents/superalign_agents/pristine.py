"""Small models are read from disk once: whoever asks again gets a copy as it was read.

A run reads its policies anew in every stage, so that a stage depends on the record alone.
Building a tiny model takes transformers ten times as long as copying one.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LARGEST = 16 * 2**20
"""Bytes on disk of what is kept in memory."""

_MOST = 12

_kept: OrderedDict[Hashable, object] = OrderedDict()


def once(source: str | Path, load: Callable[[], T], *how: Hashable) -> T:
    """Return what `load` returns, or a copy of what it returned for the same files.

    Args:
        source: folder that is read; anything else is loaded every time.
        load: reads it.
        *how: what the result depends on besides.
    """
    stamp = _stamp(Path(source))
    if stamp is None:
        return load()
    key = (str(Path(source).resolve()), stamp, *how)
    if key not in _kept:
        _kept[key] = load()
        while len(_kept) > _MOST:
            _kept.popitem(last=False)
    _kept.move_to_end(key)
    found: T = copy.deepcopy(_kept[key])  # type: ignore[assignment] # of the same key
    return found


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...] | None:
    """Return by what a changed folder is noticed; None for no folder, or a large one."""
    if not folder.is_dir():
        return None
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    if sum(stat.st_size for _, stat in stats) > LARGEST:
        return None
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
