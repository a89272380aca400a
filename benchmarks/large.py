"""Large models with scratch weights, and what a card could do with them at best."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from superalign_training.policy import SharedBase

SHAPES: Mapping[str, dict[str, int | bool]] = {
    "0.5B": {
        "vocab_size": 151936,
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
        "tie_word_embeddings": True,
    },
    "7B": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "tie_word_embeddings": False,
    },
    "tiny": {
        "vocab_size": 512,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 128,
        "tie_word_embeddings": True,
    },
}


class Card(NamedTuple):
    """What the device can do at best."""

    name: str
    device: torch.device
    dtype: torch.dtype
    bytes_per_s: float
    operations_per_s: float


def measured_card(device: str) -> Card:
    """Return what a device can do at best: a copy, and a square product."""
    place = torch.device(device)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    side = 8192 if device == "cuda" else 512
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    card = Card(name, place, dtype, 1.0, 1.0)
    left = torch.randn(side, side, device=place, dtype=dtype)
    right, out = torch.randn_like(left), torch.empty_like(left)
    source = torch.empty(side * side * 8, device=place, dtype=torch.uint8)
    target = torch.empty_like(source)
    copies = [clocked(lambda: target.copy_(source), card) for _ in range(12)]
    products = [clocked(lambda: torch.mm(left, right, out=out), card) for _ in range(12)]
    return card._replace(
        bytes_per_s=2 * source.numel() / min(copies),
        operations_per_s=2 * side**3 / min(products),
    )


def scratch(shape: str, card: Card) -> SharedBase:
    """Return a model of a shape with random weights, made where it shall live."""
    torch.manual_seed(0)
    sizes: Any = SHAPES[shape]
    config = Qwen2Config(**sizes, eos_token_id=1, pad_token_id=0, bos_token_id=None)
    before = torch.get_default_dtype()
    torch.set_default_dtype(card.dtype)
    try:
        with card.device:
            model = Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return SharedBase(model, words(), reference=f"scratch-{shape}")


def words() -> PreTrainedTokenizerFast:
    """Return a tokenizer that is never asked for more than its end."""
    core = Tokenizer(models.WordLevel({"<pad>": 0, "<end>": 1}, unk_token="<pad>"))
    make: Any = PreTrainedTokenizerFast  # it is not annotated
    made: PreTrainedTokenizerFast = make(
        tokenizer_object=core, pad_token="<pad>", eos_token="<end>"
    )
    return made


def clocked(work: Callable[[], object], card: Card) -> float:
    """Return the seconds of a piece of work, its last kernel included."""
    wait: Any = torch.cuda.synchronize if card.device.type == "cuda" else (lambda: None)
    wait()
    begin = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - begin


def forget_peak(card: Card) -> None:
    """Let the next peak count from what lies in memory now."""
    if card.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(card: Card) -> float:
    """Return the largest memory held so far, in GiB; 0 on a CPU, which does not count."""
    return torch.cuda.max_memory_allocated() / 2**30 if card.device.type == "cuda" else 0.0


def slug(shape: str) -> str:
    """Return a shape's name as part of a figure's."""
    return shape.lower().replace(".", "_")
