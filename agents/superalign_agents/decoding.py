"""Batched sampling from a causal LM, with one stream of random numbers per row.

Every row brings its own uniforms and a token is the inverse of the cumulative
distribution at its uniform, so what a row says does not depend on who shares its batch
(up to the rounding of floats). Rows that finish leave the batch.
"""

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, PreTrainedModel

from superalign_env.errors import InvalidOption


class Decoded(NamedTuple):
    """What one row said."""

    token_ids: tuple[int, ...]
    """The stop token included when it was sampled."""
    logprobs: tuple[float, ...]
    """Natural logarithms at the sampling temperature (at 1 for greedy decoding)."""
    finish: Literal["stop", "length"]


class _Live(NamedTuple):
    """The rows that still speak. Shapes: B rows, W = prompt width + longest answer."""

    rows: torch.Tensor
    """[B] index of each row among all prompts."""
    mask: torch.Tensor
    """[B, W] 1 where a key may be seen (the left padding is 0)."""
    position: torch.Tensor
    """[B] position of the next token."""
    cache: DynamicCache

    def keep(self, index: torch.Tensor) -> "_Live":
        """Return the rows with the given places; the cache shrinks in place."""
        self.cache.batch_select_indices(index)
        return _Live(self.rows[index], self.mask[index], self.position[index], self.cache)


def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    uniforms: NDArray[np.float64],
    *,
    max_new_tokens: Sequence[int],
    stop_ids: Collection[int],
    temperature: float = 1.0,
    allowed: NDArray[np.bool_] | None = None,
) -> list[Decoded]:
    """Continue every prompt until a stop token or the row's limit.

    Args:
        model: a causal LM in eval mode.
        prompts: B token sequences, none empty.
        uniforms: [B, T] numbers in [0, 1), T at least the largest limit.
        max_new_tokens: B limits, each at least 1.
        stop_ids: tokens that end a row.
        temperature: 0 is greedy.
        allowed: [V] or [B, V] tokens that may be sampled; log-probabilities are then
            those of the restricted distribution.

    Raises:
        InvalidOption: an empty prompt, a limit below 1, or too few uniforms.
    """
    if not prompts:
        return []
    _check(prompts, uniforms, max_new_tokens=max_new_tokens, temperature=temperature)
    device = model.device
    draws = torch.as_tensor(uniforms, dtype=torch.float64, device=device)
    limits = torch.as_tensor(list(max_new_tokens), device=device)
    stops = torch.as_tensor(sorted(stop_ids), dtype=torch.long, device=device)
    permitted = None if allowed is None else torch.as_tensor(allowed, device=device)
    tokens = torch.zeros((len(prompts), int(limits.max())), dtype=torch.long, device=device)
    logprobs = torch.zeros(tokens.shape, dtype=torch.float64, device=device)
    lengths = limits.clone()
    stopped = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    with torch.inference_mode():
        ids, live = _pad(prompts, tokens.shape[1], device=device)
        width = ids.shape[1]
        for step in range(tokens.shape[1]):
            logits = _forward(model, ids, live, width=width + step)
            if permitted is not None:
                rule = permitted if permitted.dim() == 1 else permitted[live.rows]
                logits = logits.masked_fill(~rule, float("-inf"))
            chosen, logprob = choose(logits, draws[live.rows, step], temperature)
            tokens[live.rows, step] = chosen
            logprobs[live.rows, step] = logprob
            ends = torch.isin(chosen, stops)
            stopped[live.rows] |= ends
            done = ends | (limits[live.rows] == step + 1)
            lengths[live.rows[done]] = step + 1
            alive = torch.nonzero(~done)[:, 0]
            if len(alive) == 0:
                break
            if len(alive) < len(live.rows):
                live, chosen = live.keep(alive), chosen[alive]
            ids = chosen[:, None]
    return _collect(tokens, logprobs, lengths=lengths, stopped=stopped)


def choose(
    logits: torch.Tensor, draws: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return chosen tokens [B] and their log-probabilities [B].

    Args:
        logits: [B, V].
        draws: [B] uniforms; the token is the first whose cumulative probability exceeds
            it.
        temperature: 0 takes the likeliest token, log-probabilities then at 1.
    """
    scaled = logits.double() / (temperature or 1.0)
    logprobs = torch.log_softmax(scaled, dim=-1)
    if temperature == 0:
        chosen = logprobs.argmax(dim=-1)
    else:
        cumulative = logprobs.exp().cumsum(dim=-1)
        target = draws[:, None] * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, target, right=True)[:, 0]
        chosen = chosen.clamp(max=logits.shape[-1] - 1)
    return chosen, logprobs.gather(1, chosen[:, None])[:, 0]


def _pad(
    prompts: Sequence[Sequence[int]], new: int, *, device: torch.device
) -> tuple[torch.Tensor, _Live]:
    """Return left-padded ids [B, P] and the state of the rows before their first token."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros((len(prompts), width + new), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.as_tensor(list(prompt))
        mask[row, width - len(prompt) :] = 1
    rows = torch.arange(len(prompts), device=device)
    position = torch.as_tensor([len(prompt) for prompt in prompts], device=device)
    return ids.to(device), _Live(rows, mask.to(device), position, DynamicCache())


def _forward(
    model: PreTrainedModel, ids: torch.Tensor, live: _Live, *, width: int
) -> torch.Tensor:
    """Feed the last ids; return the logits [B, V] of what follows."""
    seen = live.mask[:, :width]
    if ids.shape[1] == 1 and live.cache.get_seq_length() > 0:
        positions = live.position[:, None].clone()
        live.position.add_(1)
    else:
        positions = (seen.cumsum(dim=1) - 1).clamp(min=0)
    output: Any = model(
        input_ids=ids,
        attention_mask=seen,
        position_ids=positions,
        past_key_values=live.cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits: torch.Tensor = output.logits[:, -1]
    return logits


def _check(
    prompts: Sequence[Sequence[int]],
    uniforms: NDArray[np.float64],
    *,
    max_new_tokens: Sequence[int],
    temperature: float,
) -> None:
    if not all(len(prompt) > 0 for prompt in prompts):
        raise InvalidOption("a prompt has no tokens; give each at least one")
    if min(max_new_tokens) < 1:
        raise InvalidOption("max_new_tokens must be at least 1 for every row")
    if temperature < 0:
        raise InvalidOption(f"temperature is {temperature}; it must not be negative")
    needed = (len(prompts), max(max_new_tokens))
    if uniforms.shape[0] != needed[0] or uniforms.shape[1] < needed[1]:
        raise InvalidOption(f"uniforms have shape {uniforms.shape}; {needed} are needed")


def _collect(
    tokens: torch.Tensor,
    logprobs: torch.Tensor,
    *,
    lengths: torch.Tensor,
    stopped: torch.Tensor,
) -> list[Decoded]:
    return [
        Decoded(
            tuple(row[:length]),
            tuple(logs[:length]),
            "stop" if stop else "length",
        )
        for row, logs, length, stop in zip(
            tokens.tolist(),
            logprobs.tolist(),
            lengths.tolist(),
            stopped.tolist(),
            strict=True,
        )
    ]
