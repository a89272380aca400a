"""Rollouts and updates of large models on one GPU, against what the card could do.

Models of the shape of Qwen2.5 0.5B and 7B with scratch weights (what they say is noise;
what it costs is not). Measured in one run of less than eight minutes:

* tokens/s of our decoding on different prompts and on groups of 8, beside bare
  ``generate()`` and vLLM where it is installed, and as a share of the bandwidth limit:
  every step of a decoder reads all weights and every key and value once;
* tokens/s of one GRPO and one PPO update (LoRA), as a share of the matrix limit: 4
  operations a weight and token forward and backward through frozen weights;
* peak memory of each, and of three policies of 0.5B, whole with Adam and as adapters;
* the same decoding compiled, beside ``generate()`` with its static cache.

The limits are measured too: a copy within the card's memory, a square product in bf16.
Figures are printed and saved as they come, to ``benchmarks/results/DATE-CARD.json``. What
fails or would begin after ``--seconds`` is left out, with the reason. Without a GPU nothing
is measured; ``--smoke`` runs every piece with a tiny shape on the CPU, vLLM by a stand-in.

Usage: python benchmarks/gpu.py [--shapes 0.5B,7B] [--seconds 400] [--smoke]
"""

import argparse
import datetime
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from large import (
    GROUP,
    Card,
    Load,
    clocked,
    decoding_limit,
    forget_peak,
    measured_card,
    peak,
    prompts,
    row,
    scratch,
    slug,
)
from stub import vllm_stub
from timing import last_line, table

from superalign_agents.decoding import sample
from superalign_agents.engines import Ask, VllmGenerator
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.ppo import Ppo
from superalign_training.data import Live, Row
from superalign_training.policy import Lora, Policy

Figures = dict[str, float]


def main() -> None:
    """Measure, print, save, print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="0.5B only")
    parser.add_argument("--shapes", default="", help="0.5B,7B")
    parser.add_argument("--seconds", type=float, default=400.0, help="when to stop")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape on the CPU")
    options = parser.parse_args()
    if not (torch.cuda.is_available() or options.smoke):
        print("no GPU here: nothing is measured; --smoke tries every piece on the CPU")
        last_line({})
        return
    named = options.shapes or ("0.5B" if options.quick else "0.5B,7B")
    shapes = ["tiny"] if options.smoke else named.split(",")
    load = Load(GROUP, 72, 8, 1, smoke=True) if options.smoke else Load(64, 256, 128, 3)
    card = measured_card("cpu" if options.smoke else "cuda")
    results = Path(__file__).parent / "results"
    if options.smoke:
        results = Path(tempfile.mkdtemp(prefix="superalign-smoke-"))
    figures = measured(pieces(shapes), load, card, seconds=options.seconds, folder=results)
    table(
        f"{card.name}: {card.bytes_per_s / 1e9:,.0f} GB/s copied, "
        f"{card.operations_per_s / 1e12:,.2f} T operations/s in {card.dtype}",
        [(name, f"{value:,.4g}") for name, value in figures.items()],
        ("figure", "value"),
    )
    last_line(figures)


Piece = Callable[[str, Load, Card], Figures]


def pieces(shapes: Sequence[str]) -> list[tuple[Piece, str]]:
    """Return what is measured of which shape, the most wanted first."""
    wanted: list[tuple[Piece, str]] = [
        (piece, shape) for shape in shapes for piece in (rollouts, updates)
    ]
    return [*wanted, *[(piece, shapes[0]) for piece in (residents, vllm, compiled)]]


def measured(
    wanted: Sequence[tuple[Piece, str]],
    load: Load,
    card: Card,
    *,
    seconds: float,
    folder: Path,
) -> Figures:
    """Return the figures of all pieces, saved after each."""
    begin, figures = time.monotonic(), Figures()
    for piece, shape in wanted:
        name = f"{piece.__name__} of {shape}"
        if time.monotonic() - begin > seconds:
            print(f"{name}: left out, {seconds:.0f} seconds are over", flush=True)
            continue
        forget_peak(card)
        try:
            found = piece(shape, load, card)
        except (torch.OutOfMemoryError, InvalidOption) as error:
            print(f"{name}: left out, {error}", flush=True)
            continue
        figures |= {f"{key}_{slug(shape)}": value for key, value in found.items()}
        path = saved(folder, card, load, figures)
        print(f"{name}: {time.monotonic() - begin:.0f} s, {path}", flush=True)
    return figures


def rollouts(shape: str, load: Load, card: Card) -> Figures:
    """Return tokens/s of our decoding and of ``generate()``, on the same prompts."""
    model = scratch(shape, card).model
    different, groups = prompts(load, load.rows), prompts(load, load.rows // GROUP)
    speeds = raced(
        {
            "rollout": lambda: ours(model, different, load),
            "group": lambda: ours(model, groups, load),
            "generate": lambda: generated(model, different, load),
        },
        load,
        card,
    )
    limit = decoding_limit(model, load, card)
    return {
        **{f"{name}_tokens_per_s": speed for name, speed in speeds.items()},
        "rollout_over_generate": speeds["rollout"] / speeds["generate"],
        "group_over_generate": speeds["group"] / speeds["generate"],
        "rollout_share_of_bandwidth": speeds["rollout"] / limit,
        "rollout_peak_gib": peak(card),
    }


def compiled(shape: str, load: Load, card: Card) -> Figures:
    """Return tokens/s of compiled decoding and of ``generate()`` with a static cache."""
    static = scratch(shape, card).model
    model = scratch(shape, card).model
    model.compile(dynamic=True, **({"backend": "eager"} if load.smoke else {}))
    texts = prompts(load, load.rows)
    return {
        f"{name}_tokens_per_s": speed
        for name, speed in raced(
            {
                "compiled": lambda: ours(model, texts, load),
                "static_generate": lambda: generated(
                    static, texts, load, cache_implementation="static"
                ),
            },
            load,
            card,
        ).items()
    }


def vllm(shape: str, load: Load, card: Card) -> Figures:
    """Return tokens/s of vLLM by our seam."""
    base = scratch(shape, card)
    with tempfile.TemporaryDirectory() as folder:
        base.model.save_pretrained(folder)
        base.tokenizer.save_pretrained(folder)
        engine = VllmGenerator(
            folder,
            library=vllm_stub() if load.smoke else None,
            gpu_memory_utilization=0.5,
            max_model_len=load.prompt + load.answer,
        )
    engine.speak_for("scratch", base.model)

    def work(texts: Sequence[Sequence[int]]) -> None:
        asks = [Ask(ids, load.answer, seed) for seed, ids in enumerate(texts)]
        engine.generate(asks, stop_ids=(), temperature=1.0)

    different, groups = prompts(load, load.rows), prompts(load, load.rows // GROUP)
    speeds = raced(
        {"vllm": lambda: work(different), "vllm_group": lambda: work(groups)}, load, card
    )
    return {f"{name}_tokens_per_s": speed for name, speed in speeds.items()}


def ours(model: Any, texts: Sequence[Sequence[int]], load: Load) -> None:
    """Decode to the limit."""
    limits = [load.answer] * load.rows
    sample(model, texts, range(load.rows), max_new_tokens=limits, stop_ids=())


def generated(
    model: Any, texts: Sequence[Sequence[int]], load: Load, **options: Any
) -> None:
    """Decode to the limit by ``generate()``."""
    ids = torch.as_tensor(texts, device=model.device)
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            min_new_tokens=load.answer,
            max_new_tokens=load.answer,
            pad_token_id=0,
            **options,
        )


def raced(works: Mapping[str, Callable[[], None]], load: Load, card: Card) -> Figures:
    """Return the best tokens/s of works that take turns, after one turn to warm up."""
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(load.repeats):
        for name, work in works.items():
            seconds[name].append(clocked(work, card))
    return {name: load.rows * load.answer / min(times) for name, times in seconds.items()}


def updates(shape: str, load: Load, card: Card) -> Figures:
    """Return tokens/s of one GRPO and one PPO update of a LoRA policy."""
    base = scratch(shape, card)
    weights = sum(weight.numel() for weight in base.model.parameters())
    # A weight and a token cost two operations forward and two back to the layer below;
    # what frozen weights would cost in gradients of their own is not spent.
    limit = card.operations_per_s / (4 * weights)
    steps = load.repeats + 1
    grpo = Grpo(steps=steps, batch_size=load.rows // 4, beta=0.0)
    ppo = Ppo(steps=steps, batch_size=load.rows, update_epochs=1, num_minibatches=1)
    figures = Figures()
    for name, algorithm in (("grpo", grpo), ("ppo", ppo)):
        policy = Policy.from_reference(base.reference, adapter=Lora(), base=base)
        speed = updating(policy, algorithm, load)
        figures[f"{name}_tokens_per_s"] = speed
        figures[f"{name}_share_of_matrix_limit"] = speed / limit
        del policy
    return {**figures, "update_peak_gib": peak(card)}


def updating(policy: Policy, algorithm: Grpo | Ppo, load: Load) -> float:
    """Return tokens/s of updates, as one call counts them: all but its first step.

    Raises:
        RuntimeError: nothing is learned, so that what is measured is no update.
    """
    moments: list[float] = []
    norms: list[float] = []

    def clock(step: int, numbers: Mapping[str, float]) -> None:
        if policy.model.device.type == "cuda":
            torch.cuda.synchronize()
        moments.append(time.perf_counter())
        norms.append(numbers["grad_norm"])

    def play(first: int, count: int) -> Sequence[Row]:
        members = load.rows // count
        return [
            row(first + case, member, load)
            for case in range(count)
            for member in range(members)
        ]

    algorithm.improve(policy, Live(play), seed=1, on_step=clock)
    if not all(norm > 0 for norm in norms):
        raise RuntimeError(f"gradients of norm {norms}: the rows pay everybody alike")
    seconds: float = min(b - a for a, b in itertools.pairwise(moments))
    return load.rows * (load.prompt + load.answer) / seconds


def residents(shape: str, load: Load, card: Card) -> Figures:
    """Return peak memory (GiB) of three policies that train in turn on one device."""
    small = load._replace(rows=load.rows // 4)
    step = Ppo(steps=2, batch_size=small.rows, update_epochs=1, num_minibatches=1)
    figures = Figures()
    for name, made in (("whole", whole), ("lora", adapters)):
        forget_peak(card)
        policies = made(shape, card)
        for policy in policies:
            updating(policy, step, small)
        figures[f"three_{name}_policies_peak_gib"] = peak(card)
        del policy, policies
    return figures


def whole(shape: str, card: Card) -> list[Policy]:
    """Return three policies with all weights of their own."""
    policies = []
    for base in [scratch(shape, card) for _ in range(3)]:
        base.model.requires_grad_(True)
        agent = TransformerAgent(
            base.model, tokenizer=base.tokenizer, reference=base.reference
        )
        policies.append(Policy(agent))
    return policies


def adapters(shape: str, card: Card) -> list[Policy]:
    """Return three adapters on one base."""
    base = scratch(shape, card)
    return [
        Policy.from_reference(base.reference, adapter=Lora(), base=base, seed=seed)
        for seed in range(3)
    ]


def saved(folder: Path, card: Card, load: Load, figures: Figures) -> Path:
    """Write the figures with date and card, and return where."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    folder.mkdir(exist_ok=True)
    path = folder / f"{today}-{card.name.lower().replace(' ', '-')}.json"
    contents = {
        "date": today,
        "card": card.name,
        "torch": torch.__version__,
        "load": load._asdict(),
        "gigabytes_per_s": card.bytes_per_s / 1e9,
        "teraoperations_per_s": card.operations_per_s / 1e12,
        "figures": figures,
    }
    path.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
