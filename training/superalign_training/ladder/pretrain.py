"""Pre-training of one rung: packed batches of text, and a loop with exact resume.

Documents come in blocks that depend on (seed, block) alone, so a resumed run reads what an
uninterrupted one would have read, and all rungs of a seed read the same text. Left out:
distributed training, mixed precision, gradient accumulation, evaluation during training.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from superalign_env.errors import RecordDamaged
from superalign_env.seeding import mix

Documents = Callable[[int, int], Sequence[str]]
"""(seed, n) → n documents."""

Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Documents → token ids."""

BLOCK_STEPS = 32
"""Steps whose documents are generated together."""

WARMUP_STEPS = 30
FINAL_FACTOR = 0.05
"""Of the peak learning rate, at the last step."""

_WEIGHT_DECAY = 0.01
_MAX_GRAD_NORM = 1.0

Progress = Callable[[int, float], None]
"""(step just made, weighted mean loss in nats per token)."""


class PackedBatch(NamedTuple):
    """R packed rows of L tokens."""

    ids: torch.Tensor
    """[R, L]"""
    positions: torch.Tensor
    """[R, L] position inside the token's own document."""
    mask: torch.Tensor
    """[R, 1, L, L] True where a token may look: its own document, not ahead."""
    targets: torch.Tensor
    """[R, L] the next token of the document, −100 where there is none."""
    weights: torch.Tensor
    """[R, L] loss weight of the target."""


class Emphasis(NamedTuple):
    """Larger loss weights for the end of a document."""

    after: tuple[int, ...]
    """Token ids: the weights begin behind the first of them."""
    weight: float


class Batches:
    """Packed batches of a stream of documents, by step.

    Args:
        documents: makes text from a seed; blocks get seeds of their own.
        encode: turns text into token ids.
        seed: of the stream.
        batch_size: documents in a batch.
        max_length: documents are cut to so many tokens, which is also the row length.
        emphasis: tokens that count more; None for none.
    """

    def __init__(
        self,
        documents: Documents,
        encode: Encode,
        *,
        seed: int,
        batch_size: int,
        max_length: int,
        emphasis: Emphasis | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.emphasis = emphasis
        self.max_length = max_length

        @lru_cache(maxsize=2)
        def block(number: int) -> list[list[int]]:
            texts = documents(mix(seed, number), batch_size * BLOCK_STEPS)
            return [list(ids[:max_length]) for ids in encode(texts)]

        self._block = block

    def at(self, step: int) -> PackedBatch:
        """Return the batch of a step."""
        number, offset = divmod(step, BLOCK_STEPS)
        documents = self._block(number)[
            offset * self.batch_size : (offset + 1) * self.batch_size
        ]
        return pack(documents, max_length=self.max_length, emphasis=self.emphasis)


def pack(
    documents: Sequence[Sequence[int]], *, max_length: int, emphasis: Emphasis | None = None
) -> PackedBatch:
    """Pack documents into rows by first-fit decreasing.

    Documents of one row do not see each other, so packing changes nothing but speed.
    """
    rows = _fit(documents, max_length)
    width = max(sum(len(document) for document in row) for row in rows)
    shape = (len(rows), width)
    ids, positions = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    owner, targets = np.full(shape, -1), np.full(shape, -100)
    weights = np.ones(shape, dtype=np.float32)
    for row, packed in enumerate(rows):
        start = 0
        for number, document in enumerate(packed):
            end = start + len(document)
            ids[row, start:end] = document
            owner[row, start:end] = number
            positions[row, start:end] = np.arange(len(document))
            targets[row, start : end - 1] = document[1:]
            if emphasis is not None:
                place = _first(document, emphasis.after)
                weights[row, start + place : end] = emphasis.weight
            start = end
    mask = (owner[:, None, :, None] == owner[:, None, None, :]) & np.tri(width, dtype=bool)
    arrays = (ids, positions, mask, targets, weights)
    return PackedBatch(*(torch.from_numpy(array) for array in arrays))


def _first(document: Sequence[int], targets: tuple[int, ...]) -> int:
    """Return the place of the first wanted token, or the length where there is none."""
    return next((i for i, token in enumerate(document) if token in targets), len(document))


def _fit(documents: Sequence[Sequence[int]], max_length: int) -> list[list[Sequence[int]]]:
    """Return rows of documents that fit into `max_length` tokens each."""
    rows: list[list[Sequence[int]]] = []
    room: list[int] = []
    for document in sorted(documents, key=len, reverse=True):
        place = next((r for r, free in enumerate(room) if free >= len(document)), None)
        if place is None:
            rows.append([])
            room.append(max_length)
            place = len(rows) - 1
        rows[place].append(document)
        room[place] -= len(document)
    return rows


class Training(NamedTuple):
    """Settings of one pre-training run."""

    steps: int
    learning_rate: float
    """Peak of AdamW (0.9, 0.98)."""
    save_steps: int = 250
    """Steps between two saved states."""


def pretrain(
    model: LlamaForCausalLM,
    batches: Batches,
    training: Training,
    *,
    state: Path | None = None,
    stop_after: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Train in place; return the step reached.

    Args:
        model: changed in place, or overwritten from `state` where that file exists.
        batches: the text.
        training: steps and learning rate.
        state: file that holds weights, optimiser and step every `save_steps` steps and
            at an interrupt. The text depends on seed and step alone and nothing else is
            random, so that is all an exact resume needs.
        stop_after: stop (and save) once this step was made, as an interrupt would.
        progress: called after every step.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=training.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=_WEIGHT_DECAY,
        fused=True,
    )
    step = load_state(model, optimiser, state) if state and state.is_file() else 0
    model.train()
    try:
        while step < training.steps and (stop_after is None or step < stop_after):
            for group in optimiser.param_groups:
                group["lr"] = training.learning_rate * schedule_factor(
                    step, steps=training.steps
                )
            loss = _step(model, optimiser, batches.at(step))
            step += 1
            if progress is not None:
                progress(step, loss)
            if state is not None and step % training.save_steps == 0:
                save_state(model, optimiser, state, step=step)
    finally:
        # A keyboard interrupt may fall inside an optimiser step; the last file on disk
        # is whole, so only a clean stop writes a new one.
        model.train(False)
    if state is not None and step < training.steps:
        save_state(model, optimiser, state, step=step)
    return step


def batch_loss(model: LlamaForCausalLM, batch: PackedBatch) -> torch.Tensor:
    """Return the weighted mean loss over all predicted tokens, in nats."""
    hidden = model.model(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    predicted = batch.targets >= 0
    logits = model.lm_head(hidden[predicted])
    losses = torch.nn.functional.cross_entropy(
        logits, batch.targets[predicted], reduction="none"
    )
    weights = batch.weights[predicted]
    return (losses * weights).sum() / weights.sum()


def save_state(
    model: LlamaForCausalLM, optimiser: torch.optim.Optimizer, path: Path, *, step: int
) -> None:
    """Write weights, optimiser moments and step; the file appears whole or not at all."""
    tensors = {f"weights.{name}": value for name, value in model.named_parameters()}
    for name, parameter in model.named_parameters():
        moments = optimiser.state[parameter]
        tensors[f"mean.{name}"] = moments["exp_avg"]
        tensors[f"square.{name}"] = moments["exp_avg_sq"]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(contiguous, partial, metadata={"step": str(step)})
    partial.replace(path)


def load_state(
    model: LlamaForCausalLM, optimiser: torch.optim.Optimizer, path: Path
) -> int:
    """Restore what `save_state` wrote; return the step.

    Raises:
        RecordDamaged: the file is broken or belongs to another size.
    """
    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as opened:
            step = int(opened.metadata()["step"])
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(tensors[f"weights.{name}"])
                optimiser.state[parameter] = {
                    "step": torch.tensor(float(step)),
                    "exp_avg": tensors[f"mean.{name}"],
                    "exp_avg_sq": tensors[f"square.{name}"],
                }
    except Exception as error:
        raise RecordDamaged(
            f"{path} cannot be resumed from ({error}); delete it to start this rung again"
        ) from error
    return step


def _step(
    model: LlamaForCausalLM, optimiser: torch.optim.Optimizer, batch: PackedBatch
) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss = batch_loss(model, batch)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRAD_NORM)
    optimiser.step()
    return loss.item()


def schedule_factor(step: int, *, steps: int) -> float:
    """Return the factor of the peak learning rate at a step.

    Linear warm-up, constant to the middle, then linear down to `FINAL_FACTOR`.
    """
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    middle = steps / 2
    if step <= middle:
        return 1.0
    return 1.0 - (1.0 - FINAL_FACTOR) * (step - middle) / max(steps - middle, 1.0)
