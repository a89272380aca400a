"""Tensors and agents of checkpoints: written, and read with a check of their hashes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from superalign_agents.adapters import SharedBase, read_adapter
from superalign_agents.checkpoints import refuse_pickles, tokenizer_hash
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, RecordDamaged, SuperalignError
from superalign_env.store.files import HEAD, MOMENTS, STATE, file_hash
from superalign_training.policy.checkpoint import (
    Checkpoint,
    appearing,
    files_of,
    unreadable,
)
from superalign_training.policy.model import BASE_OPTIONS, agent_on, shared_base


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
        raise unreadable(folder, error) from error
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
        raise unreadable(path.parent, error) from error
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


def _check(folder: Path, part: str, digest: str, expected: str) -> None:
    if expected and digest != expected:
        raise _altered(folder, part)


def _altered(folder: Path, part: str) -> RecordDamaged:
    return RecordDamaged(
        f"the checkpoint {folder} was altered: its {part} is not what the record names; "
        "restore it from a copy, or start a new run"
    )


def _other_base(folder: Path, expected: Checkpoint, base: SharedBase) -> str:
    if not expected.base:
        return f"{folder} holds a whole model, which stands on no base; leave base out"
    return (
        f"the adapter in {folder} was trained on {expected.reference} with the weights "
        f"{expected.base[:12]}…, but {base.reference} has {base.hash[:12]}… here; give the "
        "base that it names"
    )
