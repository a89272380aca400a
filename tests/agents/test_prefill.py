"""Prompts read once: what is shared, what it saves, and that nobody's tokens change."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from superalign_agents import decoding
from superalign_agents.decoding import sample
from superalign_agents.prefill import LEAST, plan, prefill

VOCABULARY = 40
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.4,
    "max_position_embeddings": 512,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Llama": {**SIZES, "num_key_value_heads": 1},
    "GPT2": {
        **{"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2},
        "initializer_range": 0.4,
    },
    "Bloom": {**SIZES, "n_layer": 2, "n_head": 2},  # distances, and no position ids
    "Mistral": {**SIZES, "num_key_value_heads": 1, "sliding_window": 24},
    "Gemma2": {**SIZES, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 24},
}


def scratch(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**ARCHITECTURES[name], **options})
    return AutoModelForCausalLM.from_config(config).train(False)


def tokens(length: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, VOCABULARY, (length,), generator=generator).tolist()


SYSTEM, OTHER = tokens(90, 1), tokens(120, 2)
BATCHES: dict[str, list[list[int]]] = {
    "a group": [tokens(80, 3)] * 4,
    "groups": [tokens(80, 3), tokens(90, 4)] * 3,
    "one system prompt": [SYSTEM + tokens(4 + 3 * row, 5 + row) for row in range(5)],
    "two system prompts": [
        (SYSTEM if row % 2 else OTHER) + tokens(6 + row, 20 + row) for row in range(8)
    ]
    + [tokens(30, 40)],
    "one contains another": [SYSTEM, SYSTEM + tokens(9, 50), SYSTEM[:80]],
    "one is long": [tokens(300, 60), *(tokens(8 + row, 61 + row) for row in range(6))],
}


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    made: LlamaForCausalLM = scratch("Llama")
    return made


@pytest.fixture
def cheap_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes cost hardly anything, so that tiny models share what large ones would."""
    monkeypatch.setattr(
        "superalign_agents.prefill._PASS", dict.fromkeys(("cpu", "cuda"), 0.0)
    )


class Read:
    """Counts the tokens that a model reads, padding included, and its passes."""

    def __init__(self, model: Any) -> None:
        self.sizes: list[tuple[int, ...]] = []
        self._hook = model.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, model: Any, args: Any, kwargs: Any) -> None:
        self.sizes.append(tuple(kwargs["input_ids"].shape))

    @property
    def tokens(self) -> int:
        return sum(rows * length for rows, length in self.sizes)

    def __enter__(self) -> "Read":
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


@pytest.mark.usefixtures("cheap_passes")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_rows_that_share_tokens_say_what_they_would_say_otherwise(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = scratch(name)
    for prompts in BATCHES.values():
        limits, seeds = [4] * len(prompts), range(len(prompts))
        shared = sample(model, prompts, seeds, max_new_tokens=limits, stop_ids={1})
        again = sample(model, prompts, seeds, max_new_tokens=limits, stop_ids={1})
        assert shared == again
        with monkeypatch.context() as patch:
            patch.setattr("superalign_agents.prefill.LEAST", 1000)
            plain = sample(model, prompts, seeds, max_new_tokens=limits, stop_ids={1})
        for one, other in zip(shared, plain, strict=True):
            assert one.token_ids == other.token_ids
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.usefixtures("cheap_passes")
@pytest.mark.parametrize(
    ("batch", "most"),
    [
        ("a group", 80),
        ("groups", 180),  # padded to the longer
        ("one system prompt", 90 + 5 * 16),
        ("two system prompts", 90 + 120 + 8 * 13 + 30),
        ("one contains another", 94 + 3 * 20),
        ("one is long", 300 + 6 * 13),
    ],
)
def test_shared_tokens_are_read_once(
    llama: LlamaForCausalLM, batch: str, most: int
) -> None:
    with Read(llama) as read, torch.no_grad():
        prefill(llama, BATCHES[batch], room=1)
    assert read.tokens <= most


def test_short_prompts_are_read_as_one_padded_batch(llama: LlamaForCausalLM) -> None:
    prompts = [tokens(LEAST - 1, 1), *[tokens(5, 2)] * 3]
    with Read(llama) as read, torch.no_grad():
        prefill(llama, prompts, room=1)
    assert read.sizes == [(4, LEAST - 1)]


def test_a_pass_of_its_own_must_save_more_than_it_costs(llama: LlamaForCausalLM) -> None:
    pairs = [SYSTEM[:40] + tokens(60, row) for row in range(2)]
    assert len(plan(pairs, llama)) == 1
    assert plan(pairs, llama)[0].shared == 0
    many = [SYSTEM + tokens(2, row) for row in range(200)]
    assert plan(many, scratch("Llama", hidden_size=64))[0].shared == len(SYSTEM)


@pytest.mark.parametrize("batch", ["one system prompt", "one is long"])
def test_one_stopping_row_in_eight_steps_is_seen_without_harm(
    llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch, batch: str
) -> None:
    prompts = BATCHES[batch]
    stops = set(range(2, 12))
    limits = [3 + 5 * row for row in range(len(prompts))]
    seeds = range(len(prompts))
    said = sample(llama, prompts, seeds, max_new_tokens=limits, stop_ids=stops)
    assert len({len(one.token_ids) for one in said}) > 2
    monkeypatch.setattr(decoding, "_STEPS_BETWEEN_CHECKS", {"cpu": 8})
    later = sample(llama, prompts, seeds, max_new_tokens=limits, stop_ids=stops)
    for one, other in zip(said, later, strict=True):
        assert (one.token_ids, one.finish) == (other.token_ids, other.finish)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_reply_that_outgrows_its_room_is_the_same(
    llama: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = BATCHES["one is long"]
    limits = [3, *[11] * 6]
    said = sample(llama, prompts, range(7), max_new_tokens=limits, stop_ids=())
    monkeypatch.setattr("superalign_agents.prefill.AHEAD", 2)
    assert sample(llama, prompts, range(7), max_new_tokens=limits, stop_ids=()) == said


def test_a_step_adds_to_the_cache_in_place(llama: LlamaForCausalLM) -> None:
    with torch.no_grad():
        cache = prefill(llama, BATCHES["groups"], room=3).cache
        places = [layer.keys.data_ptr() for layer in _layers(cache)]
        for _ in range(3):
            llama(input_ids=torch.full((6, 1), 5), past_key_values=cache, use_cache=True)
    assert [layer.keys.data_ptr() for layer in _layers(cache)] == places
    assert cache.get_seq_length() == 93


def _layers(cache: Any) -> Iterator[Any]:
    layers: Sequence[Any] = cache.layers
    return iter(layers)
