"""Do trainers recompute the log-probs that were recorded while a model played?

Every tested architecture speaks in a batch that is padded on the left, with a cache of
keys and values; what was recorded of each token is compared with one pass over prompt and
completion, as PPO, REINFORCE, DPO and KTO make it (the tests try every algorithm). Real
models that were fetched are tried, too. In bfloat16 the two passes round differently: the
largest difference is shown, not bounded.

Usage: python benchmarks/logprobs.py [--quick]
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch
from timing import table

from superalign_agents.decoding import sample
from superalign_agents.ladders import preset_of
from superalign_agents.transformer import TransformerAgent
from superalign_env.seeding import mix
from superalign_scenarios.microworld import words
from superalign_training.algorithms.logprobs import RowBatch, padded, token_logprobs
from superalign_training.ladder.micro_model import build_tokenizer
from superalign_training.policy import Policy
from superalign_training.testing.architectures import (
    ARCHITECTURES,
    CONTEXT,
    tiny_architecture,
)

TEMPERATURE = 0.7
PROMPTS = (2, 5, 9, 14)
"""Lengths of prompts in one batch, in tokens."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four architectures")
    quick = parser.parse_args(arguments).quick
    names = list(ARCHITECTURES)[:: 5 if quick else 1]
    tokenizer = build_tokenizer(words.VOCABULARY, words.SPECIAL_TOKENS, max_length=CONTEXT)
    rows: list[tuple[str, ...]] = []
    largest = {"float32": 0.0, "bfloat16": 0.0}

    def add(name: str, special: str, policies: dict[str, Policy], tokens: int) -> None:
        found = {kind: largest_difference(p, tokens) for kind, p in policies.items()}
        for kind, nats in found.items():
            largest[kind] = max(largest[kind], nats)
        rows.append((name, *[f"{found[kind]:.1e}" for kind in largest], special))

    for name in names:
        policies = {
            "float32": tiny_architecture(name, tokenizer),
            "bfloat16": tiny_architecture(name, tokenizer),
        }
        half: Any = policies["bfloat16"].model
        half.to(torch.bfloat16)
        add(name, ARCHITECTURES[name][0], policies, 24)
    preset = preset_of("smollm2")
    if preset is None or preset.folder is None:
        print("smollm2 is skipped: superalign ladder fetch smollm2 brings it here")
    elif not quick:
        policies = {
            kind: Policy(TransformerAgent(preset.folder, dtype=kind)) for kind in largest
        }
        add("smollm2", "the real model", policies, 24)
    head = ("architecture", "float32", "bfloat16", "what is special about it")
    table(
        "largest difference of a token's log-prob, recorded and recomputed, in nats",
        rows,
        head,
    )
    figures = {
        "architectures": len(names),
        "largest_nats": largest["float32"],
        "largest_nats_bfloat16": largest["bfloat16"],
    }
    print(json.dumps(figures))


def largest_difference(policy: Policy, tokens: int) -> float:
    """Return how far a recomputed log-prob is from the recorded one at most, in nats."""
    model: Any = policy.model
    prompts = [tuple(range(20, 20 + length)) for length in PROMPTS]
    replies = sample(
        model,
        prompts,
        [mix(7, place) for place in range(len(prompts))],
        max_new_tokens=[tokens - place for place in range(len(prompts))],
        stop_ids=[],
        temperature=TEMPERATURE,
    )
    completions = [(p, r.token_ids) for p, r in zip(prompts, replies, strict=True)]
    ids, mask, width = padded(completions)
    batch = RowBatch(ids, mask, mask[:, -width:].float())
    with torch.no_grad():
        recomputed = token_logprobs(model, batch, TEMPERATURE).logprobs
    return float((recomputed - batch.spread([r.logprobs for r in replies])).abs().max())


if __name__ == "__main__":
    main()
