"""Checkpoints: folders of a policy, written, and read back against their recorded hashes.

A checkpoint is a folder: a Hugging Face model (safetensors, tokenizer, chat template) or
a LoRA adapter as peft writes it, and beside it the value head and the optimiser's moments.
It is named by its content and appears whole or not at all. Nothing in it is pickled.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from superalign_agents.adapters import SharedBase, read_adapter
from superalign_agents.checkpoints import refuse_pickles, tokenizer_hash
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, RecordDamaged, SuperalignError
from superalign_env.store.files import HEAD, MOMENTS, STATE, file_hash
from superalign_env.store.room import room_for
from superalign_training.policy.model import BASE_OPTIONS, agent_on, shared_base


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
    """Yield an empty folder that takes the place of `folder` when all went well.

    Raises:
        RecordFull: there was no room for what was written into it.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with room_for(folder):
            partial.mkdir(parents=True)
            yield partial
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # room for saying what went wrong


def files_of(folder: Path) -> dict[str, str]:
    """Return every file of a checkpoint that has no hash of its own → its content hash."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): file_hash(path)
        for path in paths
        if path.name not in (STATE, MOMENTS, HEAD)
    }


def write_checkpoint(
    folder: Path,
    state: Checkpoint,
    save_model: Callable[[Path], object],
    *,
    moments: Mapping[str, torch.Tensor],
    head: Mapping[str, torch.Tensor],
) -> Checkpoint:
    """Write a checkpoint; the folder appears whole or not at all.

    Args:
        folder: where it shall lie.
        state: what it says of itself, but for its own name and hashes of files.
        save_model: writes the model, or its adapter, into a folder.
        moments: of the optimiser; may be empty.
        head: weights of the value head; may be empty.

    Returns:
        What was written, with the folder's own name as the path.
    """
    with appearing(folder) as partial:
        save_model(partial)
        state = msgspec.structs.replace(
            state,
            path=folder.name,
            optimizer=_kept(partial / MOMENTS, moments),
            head=_kept(partial / HEAD, head),
            files=files_of(partial),
        )
        (partial / STATE).write_text(json.dumps(msgspec.to_builtins(state), indent=1))
    return state


def read_state(folder: Path) -> Checkpoint:
    """Return what a checkpoint says of itself.

    Raises:
        RecordDamaged: nothing, or nothing that can be read.
    """
    try:
        raw = (folder / STATE).read_bytes()
        return msgspec.json.decode(raw, type=Checkpoint)
    except (OSError, msgspec.MsgspecError) as error:
        raise _unreadable(folder, error) from error


def read_agent(
    folder: Path,
    expected: Checkpoint,
    *,
    base: SharedBase | None,
    device: str,
    compiled: bool = False,
) -> TransformerAgent:
    """Return the agent of a checkpoint, checked against what was recorded.

    Args:
        folder: where it lies.
        expected: what the record says of it.
        base: what its adapter stands on; None loads it.
        device: where the model shall live.
        compiled: whether it is compiled on first use.

    Raises:
        RecordDamaged: it is missing, or is not what was written.
        InvalidOption: the base given is not the one that the adapter was trained on.
    """
    if base is not None and base.hash != expected.base:
        raise InvalidOption(_other_base(folder, expected, base))
    try:
        refuse_pickles(folder)
        if expected.base:
            base = base or _base_of(folder, expected, device)
            options = {**expected.options, "compiled": compiled}
            adapter = read_adapter(base, folder)
            agent = agent_on(adapter, options, reference=expected.reference)
        else:
            agent = TransformerAgent(
                folder,
                reference=expected.reference,
                device=device,
                compiled=compiled,
                **expected.options,
            )
    except (OSError, InvalidOption) as error:
        raise _unreadable(folder, error) from error
    _check(folder, "weights", agent.policy, expected.weights)
    _check(folder, "tokenizer", tokenizer_hash(agent.tokenizer), expected.tokenizer)
    return agent


def read_tensors(path: Path, expected: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a file, by its recorded content hash; none if that is empty.

    Raises:
        RecordDamaged: it is missing, or is not what was written.
    """
    if not expected:
        return {}
    try:
        file_digest = file_hash(path)
        if file_digest == expected:
            return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path.parent, error) from error
    raise _altered(path.parent, path.name)


def _base_of(folder: Path, expected: Checkpoint, device: str) -> SharedBase:
    """Load the base that a checkpoint names."""
    settled = {
        key: value for key, value in expected.options.items() if key in BASE_OPTIONS[:2]
    }
    try:
        base = shared_base(expected.reference, device=device, **settled)
    except SuperalignError as error:
        raise InvalidOption(f"its base cannot be loaded: {error}") from error
    if base.hash != expected.base:
        raise InvalidOption(_other_base(folder, expected, base))
    return base


def _kept(path: Path, tensors: Mapping[str, torch.Tensor]) -> str:
    """Write tensors, if there are any, and return the file's content hash."""
    if not tensors:
        return ""
    save_file({name: tensor.detach().cpu() for name, tensor in tensors.items()}, path)
    return file_hash(path)


def _check(folder: Path, what: str, digest: str, expected: str) -> None:
    if expected and digest != expected:
        raise _altered(folder, what)


def _altered(folder: Path, what: str) -> RecordDamaged:
    return RecordDamaged(
        f"the checkpoint {folder} was altered: its {what} is not what the record names; "
        "restore it from a copy, or start a new run"
    )


def _unreadable(folder: Path, error: Exception) -> RecordDamaged:
    return RecordDamaged(
        f"the checkpoint {folder} cannot be read ({error}); restore it from a copy, or start "
        "a new run"
    )


def _other_base(folder: Path, expected: Checkpoint, base: SharedBase) -> str:
    if not expected.base:
        return f"{folder} holds a whole model, which stands on no base; leave base out"
    return (
        f"the adapter in {folder} was trained on {expected.reference} with the weights "
        f"{expected.base[:12]}…, but {base.reference} has {base.hash[:12]}… here; give the "
        "base that it names"
    )
