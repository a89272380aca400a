"""Rollouts and updates of large models on one GPU, against what the card could do.

Models of the shape of Qwen2.5 0.5B and 7B with scratch weights (what they say is noise;
what it costs is not). Measured in one run:

* tokens/s of our decoding beside bare ``generate()``, and as a share of the bandwidth
  limit: every step of a decoder reads all weights and every key and value once;
* tokens/s of one GRPO and one PPO update (LoRA), as a share of the matrix limit: 4
  operations a weight and token forward and backward through frozen weights;
* three policies of 0.5B, whole with Adam and as adapters on one base: peak memory.

The limits are measured too: a copy within the card's memory, a square product in bf16.
Without a GPU a tiny shape runs on the CPU: a check that it works, not a figure.

Usage: python benchmarks/gpu.py [--quick] [--shapes 0.5B,7B] [--save]
"""

import argparse
import datetime
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from large import Card, clocked, forget_peak, measured_card, peak, scratch, slug
from timing import last_line, table

from superalign_agents.decoding import sample
from superalign_agents.transformer import TransformerAgent
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.ppo import Ppo
from superalign_training.data import Live, Row
from superalign_training.policy import Lora, Policy


class Load(NamedTuple):
    """How much is decoded and trained on."""

    rows: int
    prompt: int
    answer: int
    repeats: int


def main() -> None:
    """Measure, print the tables, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="0.5B only, under a minute")
    parser.add_argument("--shapes", default="", help="0.5B,7B or tiny")
    parser.add_argument("--save", action="store_true", help="into benchmarks/results/")
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    named = options.shapes or ("0.5B" if options.quick else "0.5B,7B") if cuda else "tiny"
    load = Load(64, 256, 128, 3) if cuda else Load(4, 12, 8, 1)
    card = measured_card("cuda" if cuda else "cpu")
    figures: dict[str, float] = {}
    for shape in named.split(","):
        figures |= {f"{key}_{slug(shape)}": value for key, value in one(shape, load, card)}
    figures |= residents(named.split(",")[0], load, card)
    table(
        f"{card.name}: {card.bytes_per_s / 1e9:,.0f} GB/s copied, "
        f"{card.operations_per_s / 1e12:,.2f} T operations/s in {card.dtype}",
        [(name, f"{value:,.4g}") for name, value in figures.items()],
        ("figure", "value"),
    )
    if not cuda:
        print("no GPU here: a tiny shape on the CPU, to see that it works; no figures")
    if options.save and cuda:
        print(saved(card, load, figures))
    last_line(figures)


def one(shape: str, load: Load, card: Card) -> list[tuple[str, float]]:
    """Return the figures of one shape."""
    base = scratch(shape, card)
    weights = sum(weight.numel() for weight in base.model.parameters())
    ours, bare = decoding(base.model, load, card)
    figures = [
        ("rollout_tokens_per_s", ours),
        ("rollout_over_generate", ours / bare),
        ("rollout_share_of_bandwidth", ours / decoding_limit(base.model, load, card)),
    ]
    # A weight and a token cost two operations forward and two back to the layer below;
    # what frozen weights would cost in gradients of their own is not spent.
    limit = card.operations_per_s / (4 * weights)
    for name, algorithm in (
        ("grpo", Grpo(steps=load.repeats + 1, batch_size=load.rows // 4, beta=0.0)),
        (
            "ppo",
            Ppo(
                steps=load.repeats + 1,
                batch_size=load.rows,
                update_epochs=1,
                num_minibatches=1,
            ),
        ),
    ):
        policy = Policy.from_reference(base.reference, adapter=Lora(), base=base)
        speed = updating(policy, algorithm, load)
        figures += [
            (f"{name}_tokens_per_s", speed),
            (f"{name}_share_of_matrix_limit", speed / limit),
        ]
        del policy
    figures.append(("peak_gib", peak(card)))
    return figures


def decoding(model: Any, load: Load, card: Card) -> tuple[float, float]:
    """Return tokens/s of our decoding and of ``generate()``, on the same prompts."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(2, model.config.vocab_size, (load.rows, load.prompt))
    ids = torch.as_tensor(prompts, device=card.device)
    limits = [load.answer] * load.rows

    def ours() -> None:
        sample(
            model,
            prompts.tolist(),
            range(load.rows),
            max_new_tokens=limits,
            stop_ids=(),
        )

    def bare() -> None:
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            min_new_tokens=load.answer,
            max_new_tokens=load.answer,
            pad_token_id=0,
        )

    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    with torch.inference_mode():
        ours()
        bare()
        for _ in range(load.repeats):
            seconds["ours"].append(clocked(ours, card))
            seconds["bare"].append(clocked(bare, card))
    tokens = load.rows * load.answer
    return tokens / min(seconds["ours"]), tokens / min(seconds["bare"])


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


def updating(policy: Policy, algorithm: Grpo | Ppo, load: Load) -> float:
    """Return tokens/s of updates, as one call counts them: all but its first step."""
    moments: list[float] = []

    def clock(step: int, numbers: Mapping[str, float]) -> None:
        if policy.model.device.type == "cuda":
            torch.cuda.synchronize()
        moments.append(time.perf_counter())

    def play(first: int, count: int) -> Sequence[Row]:
        members = load.rows // count
        return [
            row(first + case, member, load)
            for case in range(count)
            for member in range(members)
        ]

    algorithm.improve(policy, Live(play), seed=1, on_step=clock)
    seconds: float = min(b - a for a, b in itertools.pairwise(moments))
    return load.rows * (load.prompt + load.answer) / seconds


def row(case: int, member: int, load: Load) -> Row:
    """Return a made-up row whose pay differs from its neighbours'."""
    rng = np.random.default_rng([case, member])
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
        turn_rewards=(float(member % 2),),
        to_go=float(member % 2),
        policy="",
        spans=((0, load.answer),),
    )


def residents(shape: str, load: Load, card: Card) -> dict[str, float]:
    """Return peak memory (GiB) of three policies that train in turn on one device."""
    figures = {}
    step = Ppo(steps=1, batch_size=load.rows // 4, update_epochs=1, num_minibatches=1)
    for name in ("whole", "lora"):
        forget_peak(card)
        if name == "whole":
            made = [scratch(shape, card) for _ in range(3)]
            for base in made:
                base.model.requires_grad_(True)
            policies = [
                Policy(
                    TransformerAgent(
                        base.model, tokenizer=base.tokenizer, reference=base.reference
                    )
                )
                for base in made
            ]
        else:
            base = scratch(shape, card)
            policies = [
                Policy.from_reference(base.reference, adapter=Lora(), base=base, seed=seed)
                for seed in range(3)
            ]
        small = load._replace(rows=load.rows // 4)
        for policy in policies:
            updating(policy, step.model_copy(update={"steps": 2}), small)
        figures[f"three_{name}_policies_peak_gib_{slug(shape)}"] = peak(card)
        del policies
    return figures


def saved(card: Card, load: Load, figures: Mapping[str, float]) -> Path:
    """Write the figures with date and card, and return where."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"gpu-{card.name.lower().replace(' ', '-')}-{today}.json"
    found = {
        "date": today,
        "card": card.name,
        "torch": torch.__version__,
        "load": load._asdict(),
        "gigabytes_per_s": card.bytes_per_s / 1e9,
        "teraoperations_per_s": card.operations_per_s / 1e12,
        "figures": dict(figures),
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
