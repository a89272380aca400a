"""Pre-training of one rung: a plain loop that can be stopped and resumed exactly.

What was left out: distributed training, mixed precision, gradient accumulation,
evaluation during training. The models are tiny and the text is infinite.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from superalign_env.errors import RecordDamaged
from superalign_training.ladder.batches import Batch, Batches
from superalign_training.ladder.schedule import rate_factor

Progress = Callable[[int, float], None]
"""(step just made, weighted mean loss in nats per token)."""


class Training(NamedTuple):
    """How long and how fast."""

    steps: int
    rate: float
    """Peak learning rate of AdamW (0.9, 0.98)."""
    weight_decay: float = 0.01
    clip: float = 1.0
    save_every: int = 250


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
        training: how long and how fast.
        state: file that holds weights, optimiser and step every `save_every` steps and
            at an interrupt. The text depends on seed and step alone and nothing else is
            random, so that is all an exact resume needs.
        stop_after: stop (and save) once this step was made, as an interrupt would.
        progress: called after every step.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=training.rate,
        betas=(0.9, 0.98),
        weight_decay=training.weight_decay,
        fused=True,
    )
    step = load_state(model, optimiser, state) if state and state.is_file() else 0
    model.train()
    try:
        while step < training.steps and (stop_after is None or step < stop_after):
            for group in optimiser.param_groups:
                group["lr"] = training.rate * rate_factor(step, steps=training.steps)
            loss = _step(model, optimiser, batches.at(step), clip=training.clip)
            step += 1
            if progress is not None:
                progress(step, loss)
            if state is not None and step % training.save_every == 0:
                save_state(model, optimiser, state, step=step)
    finally:
        # A keyboard interrupt may fall inside an optimiser step; the last file on disk
        # is whole, so only a clean stop writes a new one.
        model.train(False)
    if state is not None and step < training.steps:
        save_state(model, optimiser, state, step=step)
    return step


def batch_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
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
    whole = {name: value.detach().contiguous() for name, value in tensors.items()}
    save_file(whole, partial, metadata={"step": str(step)})
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
    model: LlamaForCausalLM, optimiser: torch.optim.Optimizer, batch: Batch, *, clip: float
) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss = batch_loss(model, batch)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
    return loss.item()
