"""Build rungs: pre-train, store as a Hugging Face folder, measure, write the card.

Finished rungs are skipped and interrupted ones are resumed, so the same command may be
given again at any time.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from safetensors.torch import save_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from superalign_agents.checkpoints import load_model, weights_hash
from superalign_agents.ladders import (
    RungReference,
    built_root,
    read_card,
    rung_folder,
)
from superalign_env.seeding import mix
from superalign_training.ladder.micro_model import (
    build_config,
    build_tokenizer,
    count_parameters,
    size_of,
)
from superalign_training.ladder.pretrain import Batches, Emphasis, Training, pretrain
from superalign_training.ladder.rung_metrics import measure, measure_moves
from superalign_training.ladder.worlds import World

BATCH_DOCUMENTS = 64
LONGEST_DOCUMENT = 128
EMPHASIS = 4.0
"""Loss weight of predictable tokens: the world's words, and rewritings, which are mostly
copies. Other names, acts and verdicts are drawn at random; their noise hides the rule from
small models for a long time."""

PACKING = {
    "batch_documents": BATCH_DOCUMENTS,
    "longest_document": LONGEST_DOCUMENT,
    "emphasis": EMPHASIS,
}
"""As written on cards."""

Watch = Callable[[RungReference, int, int, float], None]
"""(rung, step, steps, loss) after every step."""


def build(
    world: World,
    *,
    family: str = "micro",
    seeds: Sequence[int] = (0,),
    rungs: Sequence[int] = (0, 1, 2, 3, 4),
    out: Path | None = None,
    start: str = "",
    steps: int | None = None,
    watch: Watch | None = None,
) -> list[Path]:
    """Build every rung for every seed; return the folders.

    Args:
        world: text, tokenizer words and held-out tasks.
        family: name of the ladder.
        seeds: of weights and text; all rungs of a seed read the same text.
        rungs: numbers of the ladder.
        out: root under which ``FAMILY/RUNG@SEED`` appears; None is the user's cache.
        start: ladder whose finished rungs are continued at half their learning rate and half
            their steps; empty starts from random weights.
        steps: replaces every rung's own number of steps.
        watch: called after every step.

    Raises:
        UnknownId: no such rung, or none to start from.
    """
    root = (built_root() if out is None else Path(out)) / family
    references = [RungReference(family, rung, seed) for seed in seeds for rung in rungs]
    origins = {
        reference: _origin(reference, start, root.parent) for reference in references
    }
    folders: list[Path] = []
    for reference in references:
        folder = root / reference.folder_name
        if not (folder / "card.json").is_file():
            training = _plan(reference, origins[reference], steps)
            _build_one(world, reference, folder, origins[reference], training, watch)
        folders.append(folder)
    return folders


def _origin(reference: RungReference, start: str, root: Path) -> Path | None:
    """Return the folder of the rung that is continued, if any; check that all exist."""
    size_of(reference.rung)
    if not start:
        return None
    origin = RungReference(start, reference.rung, reference.seed)
    beside = root / start / origin.folder_name
    return beside if (beside / "card.json").is_file() else rung_folder(origin)


def _plan(reference: RungReference, origin: Path | None, steps: int | None) -> Training:
    size = size_of(reference.rung)
    if origin is None:
        return Training(steps or size.steps, size.learning_rate)
    return Training(steps or size.steps // 2, size.learning_rate / 2)


def fresh_model(
    rung: int, tokenizer: PreTrainedTokenizerBase, *, seed: int
) -> LlamaForCausalLM:
    """Return a rung with random weights.

    Raises:
        UnknownId: the ladder has no such rung.
    """
    torch.manual_seed(mix(seed, rung))
    config = build_config(
        size_of(rung),
        vocabulary=len(tokenizer),
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def _build_one(
    world: World,
    reference: RungReference,
    folder: Path,
    origin: Path | None,
    training: Training,
    watch: Watch | None,
) -> None:
    tokenizer = build_tokenizer(world.words, world.special)
    if origin is None:
        model = fresh_model(reference.rung, tokenizer, seed=reference.seed)
    else:
        model = cast(LlamaForCausalLM, load_model(origin, device="cpu"))
    losses: list[float] = []

    def note(step: int, loss: float) -> None:
        losses.append(loss)
        if watch is not None:
            watch(reference, step, training.steps, loss)

    state = folder.parent / ".building" / f"{reference.folder_name}.safetensors"
    started = time.process_time()
    pretrain(
        model,
        stream(world, tokenizer, reference.seed),
        training,
        state=state,
        progress=note,
    )
    seconds = time.process_time() - started
    facts = {
        "reference": str(reference),
        "continues": read_card(origin)["policy"] if origin else "",
        "pretraining": {
            "seed": reference.seed,
            "steps": training.steps,
            "rate": training.learning_rate,
            "final_loss": mean_loss(losses),
            "cpu_seconds": round(seconds, 1),
            **PACKING,
        },
    }
    store_rung(model, tokenizer, world, folder=folder, facts=facts)
    state.unlink(missing_ok=True)


def store_rung(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    *,
    folder: Path,
    facts: Mapping[str, Any],
) -> None:
    """Write a trained model's folder, measure what was stored, and write its card.

    Args:
        model: after pre-training.
        tokenizer: its tokenizer.
        world: what it is measured in.
        folder: appears whole; its card, which is written last, says that it is finished.
        facts: of its training; sizes, weights, world and measures are added.
    """
    write_folder(model, tokenizer, folder)
    stored = load_model(folder, device="cpu")
    measures = (
        *measure(stored, tokenizer, world),
        *measure_moves(stored, tokenizer, world),
    )
    measured = {
        "parameters": count_parameters(model),
        "policy": weights_hash(stored),
        "world": world.version,
        "corpus": world.settings,
        "measures": msgspec.to_builtins(measures),
    }
    write_card({**facts, **measured}, folder)


def mean_loss(losses: Sequence[float]) -> float:
    """Return the mean of the newest fifty losses, as written on cards."""
    newest = losses[-50:]
    return round(sum(newest) / max(len(newest), 1), 4)


def stream(
    world: World,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    *,
    documents: int = BATCH_DOCUMENTS,
) -> Batches:
    """Return the packed pre-training text of a seed, so many documents in a batch."""
    vocabulary = tokenizer.get_vocab()
    markers = tuple(vocabulary[m] for m in ("<|world|>", "<|attacker|>") if m in vocabulary)
    return Batches(
        world.documents,
        lambda texts: tokenizer(list(texts))["input_ids"],
        seed=seed,
        batch_size=documents,
        max_length=LONGEST_DOCUMENT,
        emphasis=Emphasis(markers, EMPHASIS),
    )


def write_folder(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write a standard Hugging Face folder in half precision, whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    halves = {
        name: value.detach().half().contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    save_file(halves, partial / "model.safetensors", metadata={"format": "pt"})
    (partial / "model.safetensors").chmod(0o644)  # safetensors writes for its owner only
    config = json.loads(model.config.to_json_string())
    config |= {"dtype": "float16", "architectures": ["LlamaForCausalLM"]}
    (partial / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tokenizer.save_pretrained(str(partial))
    compact(partial / "tokenizer.json")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def compact(path: Path) -> None:
    """Rewrite a JSON file without white space."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


def write_card(facts: dict[str, Any], folder: Path) -> None:
    """Write the card of a rung; a rung with a card is finished."""
    partial = folder / "card.json.partial"
    partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / "card.json")
