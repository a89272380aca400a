"""Keys and values of a batch of prompts, every token that prompts share read once.

Equal prompts are read once and their keys and values are handed to all of their rows. A
beginning that prompts have in common, such as a system prompt, is read once. Prompts of very
different lengths are read apart, since padding costs as much as tokens do. What is read
together is a function of the prompts, the model and the device's type alone.

Prompts shorter than `LEAST` are read as one padded batch: there is little to save.
"""

import inspect
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from superalign_agents.batching import left_padded, positions

LEAST = 64
"""Tokens of the longest prompt of a batch from which prompts are compared."""

AHEAD = 256
"""Tokens for which there is room at once: most replies end long before their limit."""

_PASS = {"cpu": 9e6, "cuda": 1.2e11}
"""Multiply-adds that are done in the time that it takes to start a layer's kernels."""

_MAX_DEPTH = 6
"""Of nested beginnings that are looked for."""


class Prefilled(NamedTuple):
    """Prompts of B rows as a model has read them, aligned on the right; W the longest."""

    cache: DynamicCache
    """Keys and values of W tokens, with room for more."""
    logits: torch.Tensor
    """[B, V] of the token that comes next."""
    attention_mask: torch.Tensor
    """[B, W] 1 where there is a token."""
    position_ids: torch.Tensor
    """[B, 1] of each prompt's last token."""


class Part(NamedTuple):
    """Prompts that are read in one batch."""

    prompts: list[int]
    """Their numbers among the different prompts."""
    shared: int
    """How many of their first tokens are the same, and read before, once."""


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call] # transformers'
    """Keys and values of a layer, in buffers with room: a step adds to them in place.

    A `DynamicLayer` copies all keys and values in every step, a quarter of a step's time
    with 8 rows of 256 tokens and SmolLM2.

    Args:
        room: tokens that it can hold before it moves to larger buffers.
    """

    keys: Any
    values: Any

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # as above
        self._room = room

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values; return all of them."""
        if not self.is_initialized:
            self.allocate((key_states, value_states), rows=key_states.shape[0], length=0)
        before, new = self.keys.shape[2], key_states.shape[2]
        if before + new > self._room:
            self._room = before + new + AHEAD
            self._move()
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer.narrow(2, before, new).copy_(states)
        return self._hold(before + new)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some of the rows, in this order."""
        if self.is_initialized:
            self._move(indices)

    def allocate(
        self, like: tuple[torch.Tensor, torch.Tensor], *, rows: int, length: int
    ) -> None:
        """Hold so many rows of so many tokens, not filled in yet.

        Args:
            like: keys and values of the same heads.
            rows: of the batch.
            length: at most the room.
        """
        self._buffers = [
            states.new_empty(rows, states.shape[1], self._room, states.shape[3])
            for states in like
        ]
        self.dtype, self.device = like[0].dtype, like[0].device
        self.is_initialized = True
        self._hold(length)

    def place(self, rows: torch.Tensor, states: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Fill in rows with keys and values, aligned on the right."""
        for mine, theirs in zip((self.keys, self.values), states, strict=True):
            start = mine.shape[2] - theirs.shape[2]
            mine[rows, :, :start] = 0  # no number may be NaN where it is masked
            mine[rows, :, start:] = theirs

    def _move(self, indices: torch.Tensor | None = None) -> None:
        """Copy what is held, or some of its rows, to new buffers."""
        held = self.keys, self.values
        rows = held[0].shape[0] if indices is None else len(indices)
        self.allocate(held, rows=rows, length=held[0].shape[2])
        for mine, theirs in zip((self.keys, self.values), held, strict=True):
            mine.copy_(theirs if indices is None else theirs[indices])

    def _hold(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the keys and values of the first tokens, which are those held now."""
        self.keys, self.values = [buffer.narrow(2, 0, length) for buffer in self._buffers]
        return self.keys, self.values


def prefill(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], *, room: int
) -> Prefilled:
    """Return the keys, values and next logits of prompts.

    Args:
        model: a causal LM in eval mode.
        prompts: B token sequences, none empty.
        room: tokens that every row may get after its prompt.
    """
    longest = max(map(len, prompts))
    room = longest + min(room, AHEAD)
    if longest < LEAST or getattr(model, "_compiled_call_impl", None):
        return _read(model, prompts, room=room)
    different = list(dict.fromkeys(map(tuple, prompts)))
    numbers = {prompt: number for number, prompt in enumerate(different)}
    row_of = [numbers[tuple(prompt)] for prompt in prompts]
    parts = plan(different, model)
    if len(parts) == 1 and not parts[0].shared and len(different) == len(prompts):
        return _read(model, prompts, room=room)
    read = _read_parts(model, different, parts)
    return _joined(read, row_of, width=longest, room=room)


def _read_parts(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], parts: Sequence[Part]
) -> Iterator[tuple[Part, Prefilled]]:
    """Yield the parts as they are read; what their prompts share is read once."""
    beginning: Sequence[int] = ()
    cache = None
    for part in parts:
        rows = [prompts[number] for number in part.prompts]
        if part.shared and beginning != rows[0][: part.shared]:
            beginning = rows[0][: part.shared]
            cache = _read(model, [beginning], room=part.shared).cache
        after = cache if part.shared else None
        yield part, _read(model, rows, room=max(map(len, rows)), after=after)


def _read(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    room: int,
    after: DynamicCache | None = None,
) -> Prefilled:
    """Read prompts in one batch.

    Args:
        model: a causal LM.
        prompts: B token sequences.
        room: of the cache, in tokens.
        after: what all of them begin with, as one row that was read.
    """
    shared = after.get_seq_length() if after is not None else 0
    cache = DynamicCache()
    if not getattr(model, "_compiled_call_impl", None):  # which takes no views of buffers
        cache.layer_class_to_replicate = cast(Any, partial(RoomyLayer, room))
    for number, layer in enumerate(_layers(after) if after is not None else ()):
        cache.update(
            layer.keys.expand(len(prompts), -1, -1, -1),
            layer.values.expand(len(prompts), -1, -1, -1),
            number,
        )
    ids, mask = left_padded([prompt[shared:] for prompt in prompts], device=model.device)
    position_ids = positions(mask) + shared
    mask = torch.nn.functional.pad(mask, (shared, 0), value=1)
    output: Any = model(
        input_ids=ids,
        attention_mask=mask if len(set(map(len, prompts))) > 1 else None,
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return Prefilled(cache, output.logits[:, -1], mask, position_ids[:, -1:])


def _joined(
    parts: Iterator[tuple[Part, Prefilled]],
    row_of: Sequence[int],
    *,
    width: int,
    room: int,
) -> Prefilled:
    """Return the rows of all parts as one batch.

    Args:
        parts: of the different prompts.
        row_of: [B] which prompt each row has.
        width: of the longest.
        room: of the cache, in tokens.
    """
    cache = DynamicCache()
    whole: dict[str, torch.Tensor] = {}
    for part, read in parts:
        places = {prompt: place for place, prompt in enumerate(part.prompts)}
        chosen = [(r, places[p]) for r, p in enumerate(row_of) if p in places]
        rows, select = torch.tensor(chosen, device=read.logits.device).unbind(1)
        if not whole:
            columns = (read.logits, read.attention_mask, read.position_ids)
            for name, like in zip(Prefilled._fields[1:], columns, strict=True):
                size = width if name == "attention_mask" else like.shape[1]
                whole[name] = like.new_zeros(len(row_of), size)
            cache.layers = [RoomyLayer(room) for _ in read.cache.layers]
        for layer, source in zip(_layers(cache), _layers(read.cache), strict=True):
            if not source.is_initialized:  # some architectures use another layer's
                continue
            if not layer.is_initialized:
                held = source.keys, source.values
                layer.allocate(held, rows=len(row_of), length=width)
            layer.place(rows, (source.keys[select], source.values[select]))
        whole["logits"][rows] = read.logits[select]
        whole["position_ids"][rows] = read.position_ids[select]
        mask = read.attention_mask[select]
        whole["attention_mask"][rows, width - mask.shape[1] :] = mask
    return Prefilled(cache, **whole)


def _layers(cache: DynamicCache) -> list[Any]:
    """Return the layers of a cache, which are of several kinds."""
    return list(cache.layers)


def plan(prompts: Sequence[Sequence[int]], model: PreTrainedModel) -> list[Part]:
    """Return which prompts are read together; those that share a beginning in succession.

    Args:
        prompts: different ones.
        model: would read them.
    """
    least = _pass_in_tokens(model)
    clusters: list[Part] = []
    if _knows_positions(model, max(map(len, prompts))):
        order = sorted(range(len(prompts)), key=lambda number: tuple(prompts[number]))
        alike = [_alike(prompts[a], prompts[b]) for a, b in itertools.pairwise(order)]
        _, clusters = _clusters(order, alike, least, _MAX_DEPTH)
    clustered = {number for cluster in clusters for number in cluster.prompts}
    rest = [number for number in range(len(prompts)) if number not in clustered]
    lengths = list(map(len, prompts))
    return [
        Part(sorted(numbers), cluster.shared)
        for cluster in [*clusters, *([Part(rest, 0)] if rest else [])]
        for numbers in _of_like_length(cluster.prompts, lengths, least)
    ]


def _clusters(
    order: Sequence[int], alike: Sequence[int], least: float, depth: int
) -> tuple[float, list[Part]]:
    """Return the tokens that are saved by sharing beginnings, and who shares how many.

    Args:
        order: numbers of prompts in lexicographic order.
        alike: how many first tokens each has in common with the one after it.
        least: tokens that another pass costs.
        depth: how often a run of prompts may be cut.
    """
    if len(order) < 2:
        return 0.0, []
    shared = min(alike)
    whole = shared * (len(order) - 1) - 2 * least
    cut = alike.index(shared) + 1
    best = (whole, [Part(list(order), shared)]) if whole > 0 else (0.0, [])
    if depth and max(alike) > shared:
        left, first = _clusters(order[:cut], alike[: cut - 1], least, depth - 1)
        right, second = _clusters(order[cut:], alike[cut:], least, depth - 1)
        if left + right > best[0]:
            best = (left + right, first + second)
    return best


def _of_like_length(
    numbers: Sequence[int], lengths: Sequence[int], least: float
) -> Iterator[list[int]]:
    """Yield prompts in batches, cut where that saves more padding than a pass costs."""
    ordered = sorted(numbers, key=lambda number: (lengths[number], number))
    sizes: NDArray[np.int64] = np.array([lengths[number] for number in ordered])
    saved = np.arange(1, len(sizes)) * (sizes[-1] - sizes[:-1])
    if len(saved) == 0 or saved.max() <= max(least, LEAST * len(sizes)):
        yield ordered
        return
    cut = int(saved.argmax()) + 1
    yield from _of_like_length(ordered[:cut], lengths, least)
    yield from _of_like_length(ordered[cut:], lengths, least)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many first tokens are the same; at least one of each stays apart."""
    length = min(len(one), len(other)) - 1
    differing = np.nonzero(np.array(one[:length]) != np.array(other[:length]))[0]
    return int(differing[0]) if len(differing) else length


def _pass_in_tokens(model: PreTrainedModel) -> float:
    """Return how many tokens are read in the time that another pass costs by itself."""
    weights = sum(weight.numel() for weight in model.parameters())
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", 1)
    per_layer = _PASS.get(model.device.type, _PASS["cuda"])
    return max(32.0, per_layer * layers / weights)


def _knows_positions(model: PreTrainedModel, width: int) -> bool:
    """Whether a model goes by position ids alone: padding may then lie between tokens."""
    config = model.config.get_text_config()
    windows = [
        getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")
    ]
    takes = "position_ids" in forward_parameters(type(model))
    return takes and all(window is None or window >= width for window in windows)


def forward_parameters(model: type[PreTrainedModel]) -> set[str]:
    """Return what `forward` takes; a subclass may hand keywords on to the original."""
    forwards = [vars(kind)["forward"] for kind in model.__mro__ if "forward" in vars(kind)]
    return {name for forward in forwards for name in inspect.signature(forward).parameters}
