"""Causal LMs of a few thousand random weights, in every architecture that is tested."""

from typing import Any

import torch
import transformers
from transformers import PreTrainedTokenizerBase

from superalign_agents.transformer import TransformerAgent
from superalign_training.policy import Policy

CONTEXT = 64
"""Longest prompt and completion together, in tokens."""

_SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.4,  # as far apart as trained ones: positions matter
    "max_position_embeddings": CONTEXT,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 1}
_FEW_KEYS = {**_GROUPED, "head_dim": 8}
_SLIDING = {**_FEW_KEYS, "sliding_window": 8}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2": (
        "absolute positions, dropout, tied head",
        {
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": CONTEXT,
            "initializer_range": 0.4,
        },
    ),
    "OPT": (
        "absolute positions that start at 2, projected width",
        {**_SIZES, "ffn_dim": 32, "word_embed_proj_dim": 8, "init_std": 0.4},
    ),
    "Bloom": (
        "distances instead of positions (ALiBi)",
        {**_SIZES, "n_layer": 2, "n_head": 2},
    ),
    "Falcon": ("rotary positions, one key for all heads", _SIZES),
    "GPTNeoX": ("rotary positions of part of a head, untied head", _SIZES),
    "Phi": ("the same, biases everywhere", _SIZES),
    "StableLm": ("the same, layer norms", _GROUPED),
    "Starcoder2": (
        "rotary positions, sliding window, biases",
        {**_GROUPED, "sliding_window": 8},
    ),
    "Llama": ("rotary positions, untied head", _SIZES),
    "Llama, tied": ("the same, tied head", {**_SIZES, "tie_word_embeddings": True}),
    "Qwen2": ("rotary positions, biased keys", _GROUPED),
    "Qwen3": ("rotary positions, normed keys", _FEW_KEYS),
    "SmolLM3": ("every fourth layer without positions", _GROUPED),
    "Olmo2": ("rotary positions, norms after the layers", _GROUPED),
    "Phi3": ("rotary positions, one matrix for queries, keys, values", _SIZES),
    "Mistral": ("rotary positions, sliding window", _SLIDING),
    "Gemma2": ("the same in every second layer, capped logits", _SLIDING),
    "Gemma3": ("the same with two kinds of rotary positions", _SLIDING),
}
"""Name → what is special about it, settings of its configuration."""

_CONFIGS = {"Gemma3": "Gemma3TextConfig"}
_MODELS = {"GPT2": "GPT2LMHeadModel"}


def tiny_architecture(
    name: str, tokenizer: PreTrainedTokenizerBase, **changes: Any
) -> Policy:
    """Return a policy of an architecture, the same weights every time.

    Args:
        name: of `ARCHITECTURES`.
        tokenizer: its vocabulary, end and filler.
        changes: of the configuration.
    """
    kind = name.partition(",")[0]
    make: Any = getattr(transformers, _CONFIGS.get(kind, f"{kind}Config"))
    config = make(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{**ARCHITECTURES[name][1], **changes},
    )
    build: Any = getattr(transformers, _MODELS.get(kind, f"{kind}ForCausalLM"))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = build(config).train(False)
    return Policy(TransformerAgent(model, tokenizer=tokenizer))
