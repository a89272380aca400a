"""Checkpoint metadata of a policy, without torch; see `checkpoint_files`.

A checkpoint is a folder: a Hugging Face model (safetensors, tokenizer, chat template) or
a LoRA adapter as peft writes it, and beside it the value head and the optimiser's moments.
It is named by its content and appears whole or not at all. Nothing in it is pickled.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from superalign_env.errors import RecordDamaged
from superalign_env.store.database import reporting_full_disk
from superalign_env.store.files import HEAD, MOMENTS, STATE, file_hash


class Checkpoint(msgspec.Struct, frozen=True):
    """Folder, content hashes and counts of a saved policy."""

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
    original: str = ""
    """Content hash of the untrained original's weights."""
    base: str = ""
    """Content hash of the base that an adapter stands on; empty for a whole model."""
    tokenizer: str = ""
    """Content hash of the tokenizer."""
    head: str = ""
    """Content hash of the value head; empty if there is none."""
    updates: int = 0
    """Optimiser steps ever taken."""
    baselines: dict[str, float] = {}
    """Average pay by role."""
    own: bool = False
    """Whether it is a `Learner` of somebody's, which alone can read its folder."""
    files: dict[str, str] = {}
    """File → content hash, of all but this state, the moments and the head."""


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` on success.

    Raises:
        RecordFull: there was no room for what was written into it.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with reporting_full_disk(folder):
            partial.mkdir(parents=True)
            yield partial
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # room for saying what went wrong


def files_of(folder: Path) -> dict[str, str]:
    """Return the content hash of every file of a checkpoint without a hash of its own."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): file_hash(path)
        for path in paths
        if path.name not in (STATE, MOMENTS, HEAD)
    }


def read_state(folder: Path) -> Checkpoint:
    """Return the metadata of a checkpoint.

    Raises:
        RecordDamaged: nothing, or nothing that can be read.
    """
    try:
        raw = (folder / STATE).read_bytes()
        return msgspec.json.decode(raw, type=Checkpoint)
    except (OSError, msgspec.MsgspecError) as error:
        raise unreadable(folder, error) from error


def unreadable(folder: Path, error: Exception) -> RecordDamaged:
    """Return the error for a checkpoint that cannot be read."""
    return RecordDamaged(
        f"the checkpoint {folder} cannot be read ({error}); restore it from a copy, or start "
        "a new run"
    )
