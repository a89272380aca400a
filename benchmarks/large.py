"""Large models with scratch weights, what they are given, and what a card could do at best."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from superalign_training.data import Row
from superalign_training.policy import SharedBase

GROUP = 8
"""Members of a group: rows with one prompt."""

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


class Load(NamedTuple):
    """How much is decoded and trained on."""

    rows: int
    prompt: int
    answer: int
    repeats: int
    smoke: bool = False


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


def prompts(load: Load, different: int) -> list[list[int]]:
    """Return the prompts of all rows, so many different ones."""
    made = np.random.default_rng(0).integers(2, 500, (different, load.prompt)).tolist()
    return [prompt for prompt in made for _ in range(load.rows // different)]


def row(case: int, member: int, load: Load) -> Row:
    """Return a made-up row; pay differs from row to row, within a case and between cases."""
    rng = np.random.default_rng([case, member])
    pay = float(rng.normal())
    prompt = np.random.default_rng(case).integers(2, 500, load.prompt)
    return Row(
        episode=f"c{case}-m{member}",
        case=case,
        member=member,
        seat="learner_0",
        turns=(0,),
        prompt_ids=tuple(prompt.tolist()),
        completion_ids=tuple(rng.integers(2, 500, load.answer).tolist()),
        env_mask=(1,) * load.answer,
        logprobs=(-1.0,) * load.answer,
        turn_rewards=(pay,),
        to_go=pay,
        policy="",
        spans=((0, load.answer),),
    )


def decoding_limit(model: Any, load: Load, card: Card) -> float:
    """Return the tokens/s at which the card's bandwidth is used up, prompts included."""
    config = model.config
    size = torch.finfo(card.dtype).bits // 8
    weights = sum(weight.numel() for weight in model.parameters())
    head = config.hidden_size // config.num_attention_heads
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * head * size
    context = load.prompt + load.answer / 2
    step: float = (weights * size + load.rows * context * kept) / card.bytes_per_s
    reading = 2 * weights * load.rows * load.prompt / card.operations_per_s
    limit: float = load.rows * load.answer / (reading + load.answer * step)
    return limit
