"""Batched sampling from a causal LM, with one stream of random numbers per row.

A token is the inverse of the cumulative distribution at its row's uniform number, so the
tokens of a row do not depend on the other rows of its batch, up to the rounding of floats:
at the same batch plan (the same rows together, in the same order, on the same device) tokens
and log-probabilities are the same to the bit, greedy or sampled.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.prefill import Prefilled, forward_parameters, prefill
from superalign_env.errors import InvalidOption
from superalign_env.seeding import uniforms

Constrain = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits of one step as they shall be sampled from: −inf forbids a token.

Called as ``constrain(rows, tokens, logits)`` with the rows' numbers [b], their tokens so far
[b, t] and their logits [b, V], all on the model's device. A row that has ended may still be
among them; what it gets does not matter, but for one token at least that is not forbidden.
"""

_COMPACT_BELOW = 0.75
"""Ended rows leave the batch once no more than this share of it is unfinished: taking keys
and values out of a cache costs about as much as a step of a small model."""

_STEPS_BETWEEN_CHECKS = {"cpu": 1}
"""After how many steps it is looked which rows have ended. Elsewhere than on a CPU, where it
is 8, a look waits for the device, which has nothing to do meanwhile."""

_RECURRENT_LAYERS = ("linear", "conv", "mamba", "recurrent", "ssm")
"""Words in the names of layers that keep a state."""


class Decoded(NamedTuple):
    """The continuation of one prompt."""

    token_ids: tuple[int, ...]
    """The stop token included when it was sampled."""
    logprobs: tuple[float, ...]
    """Natural logarithms at the sampling temperature (at 1 for greedy decoding)."""
    finish: Literal["stop", "length"]


def declared_ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the tokens that end a reply, as the model's settings and its tokenizer say."""
    named = getattr(model.generation_config, "eos_token_id", None)
    ids = {*named} if isinstance(named, (list, tuple)) else {named}
    return {int(i) for i in (*ids, tokenizer.eos_token_id) if i is not None}


def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int] | None = None,
    *,
    max_new_tokens: Sequence[int],
    stop_ids: Collection[int],
    temperature: float = 1.0,
    constrain: Constrain | None = None,
) -> list[Decoded]:
    """Continue every prompt until a stop token or the row's limit.

    Args:
        model: a causal LM in eval mode.
        prompts: B token sequences, none empty.
        seeds: B seeds of the rows' random numbers; None is enough for greedy decoding.
        max_new_tokens: B limits, each at least 1.
        stop_ids: tokens that end a row.
        temperature: 0 is greedy.
        constrain: changes the logits of every step; log-probabilities are those of the
            distribution that it leaves.

    Raises:
        InvalidOption: an empty prompt, a limit below 1, or not one seed for each prompt.
    """
    if not prompts:
        return []
    _check(prompts, seeds, max_new_tokens=max_new_tokens, temperature=temperature)
    continuations = _Continuations(max_new_tokens, stop_ids, model.device)
    longest = continuations.longest
    numbers = uniforms(seeds if seeds is not None else [0] * len(prompts), longest)
    draws = torch.as_tensor(numbers, device=model.device)

    def next_tokens(
        rows: torch.Tensor, step: int, logits: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if constrain is not None:
            logits = constrain(rows, continuations.tokens(rows, step), logits)
        return sample_tokens(logits, draws[rows, step], temperature)

    with torch.inference_mode():
        read = prefill(model, prompts, room=longest)
        padded = len(set(map(len, prompts))) > 1
        _continue(model, read, continuations, next_tokens, padded=padded)
    return continuations.decoded()


def _continue(
    model: PreTrainedModel,
    read: Prefilled,
    continuations: "_Continuations",
    next_tokens: Callable[[torch.Tensor, int, torch.Tensor], Any],
    *,
    padded: bool,
) -> None:
    """Add tokens to prompts that were read, until all rows have ended.

    Args:
        model: a causal LM.
        read: the prompts; its cache is changed.
        continuations: get the tokens.
        next_tokens: tokens and log-probabilities of (rows, step, logits).
        padded: whether there is padding; without a mask attention need not look for it.
    """
    cache, logits, mask, position_ids = read
    longest, width, device = continuations.longest, mask.shape[1], mask.device
    mask = torch.nn.functional.pad(mask, (0, longest), value=1)
    rows = torch.arange(len(logits), device=device)
    steps_between_checks = _STEPS_BETWEEN_CHECKS.get(device.type, 8)
    for step in range(longest):
        chosen, logprobs = next_tokens(rows, step, logits)
        unfinished = continuations.add(rows, step, chosen, logprobs)
        if step + 1 == longest:
            break
        # Those of an ended row stay, so that none leaves the context.
        position_ids = position_ids + unfinished[:, None]
        if (step + 1) % steps_between_checks == 0:
            going_on = torch.nonzero(unfinished)[:, 0]
            if len(going_on) == 0:
                break
            if len(going_on) <= _COMPACT_BELOW * len(rows):
                cache.batch_select_indices(going_on)
                rows, mask = rows[going_on], mask[going_on]
                position_ids, chosen = position_ids[going_on], chosen[going_on]
        output: Any = model(
            input_ids=chosen[:, None],
            attention_mask=mask[:, : width + step + 1] if padded else None,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = output.logits[:, -1]


class _Continuations:
    """Tokens and log-probs of B rows so far, and which rows are unfinished.

    Args:
        limits: B numbers of tokens at most.
        stop_ids: tokens that end a row.
        device: of the model.
    """

    def __init__(
        self, limits: Sequence[int], stop_ids: Collection[int], device: torch.device
    ) -> None:
        self.longest = max(limits)
        self._limits = torch.as_tensor(list(limits), device=device)
        self._stops = torch.as_tensor(sorted(stop_ids), dtype=torch.long, device=device)
        shape = (len(limits), self.longest)
        self._tokens = torch.zeros(shape, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(shape, device=device)
        self._lengths = torch.zeros_like(self._limits)
        self._stopped = torch.zeros_like(self._limits, dtype=torch.bool)

    def add(
        self, rows: torch.Tensor, step: int, chosen: torch.Tensor, logprobs: torch.Tensor
    ) -> torch.Tensor:
        """Add a token of each row; return which rows are unfinished, [b].

        Tokens of a row that stays in the batch after its end are dropped. Nothing here waits
        for the device.

        Args:
            rows: [b] which rows.
            step: number of their tokens before.
            chosen: [b] tokens.
            logprobs: [b] their log-probabilities.
        """
        self._tokens[rows, step] = chosen
        self._logprobs[rows, step] = logprobs
        lengths = self._lengths[rows]
        unfinished = lengths == 0
        stops = torch.isin(chosen, self._stops)
        done = unfinished & (stops | (self._limits[rows] == step + 1))
        self._lengths[rows] = torch.where(done, step + 1, lengths)
        self._stopped[rows] = self._stopped[rows] | (done & stops)
        return unfinished & ~done

    def tokens(self, rows: torch.Tensor, step: int) -> torch.Tensor:
        """Return the first tokens of some rows, [b, step]."""
        return self._tokens[rows, :step]

    def decoded(self) -> list[Decoded]:
        """Return every row, up to its end."""
        columns = (self._tokens, self._logprobs, self._lengths, self._stopped)
        return [
            Decoded(tuple(row[:length]), tuple(logs[:length]), "stop" if stop else "length")
            for row, logs, length, stop in zip(*[c.tolist() for c in columns], strict=True)
        ]


def sample_tokens(
    logits: torch.Tensor, draws: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sampled tokens [B] and their log-probabilities [B], float32.

    In float32, where the logits lie: float64 is slow on a GPU and missing on some. Tokens
    of a probability below about 1e-7 are hardly ever drawn.

    Args:
        logits: [B, V], of any float type; −inf forbids a token.
        draws: [B] float32 in [0, 1 − 2⁻²³], see `superalign_env.seeding.uniforms`; the token
            is the first whose cumulative probability exceeds it.
        temperature: 0 takes the likeliest token, log-probabilities then at 1.
    """
    scaled = logits.float()
    if temperature not in (0, 1):
        scaled = scaled / temperature
    probabilities = scaled.softmax(dim=-1)
    if temperature == 0:
        chosen = probabilities.argmax(dim=-1)
    else:
        cumulative = probabilities.cumsum(dim=-1)
        target = draws[:, None] * cumulative[:, -1:]
        chosen = torch.searchsorted(cumulative, target, right=True)[:, 0]
        # Where logits are no numbers, none is found: the log-probability will say so.
        chosen = chosen.clamp(max=logits.shape[-1] - 1)
    return chosen, probabilities.gather(1, chosen[:, None])[:, 0].log()


def require_kv_cache(model: PreTrainedModel, *, name: str) -> None:
    """Refuse an architecture that keeps something else than keys and values of past tokens.

    Args:
        model: may be without weights.
        name: in the message.

    Raises:
        InvalidOption: it has a state, in all of its layers or in some.
    """
    layers = {str(kind) for kind in getattr(model.config, "layer_types", None) or ()}
    recurrent = any(word in layer for layer in layers for word in _RECURRENT_LAYERS)
    takes = forward_parameters(type(model))
    if recurrent or model._is_stateful or "past_key_values" not in takes:
        raise InvalidOption(
            f"{name} is a {type(model).__name__}, which keeps a state instead of keys and "
            "values of past tokens: a batch of prompts of several lengths cannot be continued "
            "with it; take a transformer with a KV cache"
        )


def _check(
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int] | None,
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
    if seeds is None and temperature > 0:
        raise InvalidOption("sampling needs a seed for each prompt; greedy decoding none")
    if seeds is not None and len(seeds) != len(prompts):
        raise InvalidOption(f"{len(seeds)} seeds for {len(prompts)} prompts; give one each")
