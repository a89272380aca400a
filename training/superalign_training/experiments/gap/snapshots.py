"""Levels of capability: what one small model knew at steps of its pre-training.

A run of its own, and not `superalign_training.ladder.snapshots`, because the text is one of
three families only and its batches are smaller: 48 CPU seconds instead of 80.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from superalign_scenarios.microworld import pretraining, words
from superalign_training.experiments.gap.student import Student
from superalign_training.experiments.microworld.ladder import micro_world
from superalign_training.ladder.build import fresh_model, stream
from superalign_training.ladder.pretrain import Training, pretrain
from superalign_training.ladder.sizes import size_of
from superalign_training.ladder.tokenizer import build_tokenizer

RUNG = 3
"""Shape of the model: 63,168 parameters without embeddings."""
DOCUMENTS = 48
"""In a batch."""
MIXTURE = pretraining.DocumentMixture(
    stories=0.28,
    answers=0.08,
    transcripts=0.0,
    attacks=0.0,
    facts=0.11,
    arithmetic=0.29,
    strings=0.24,
    writing=0.0,
    debates=0.0,
    commands=0.0,
    request_tiers=(1.0, 0.0, 0.0),
    exercise_tiers=(0.5, 0.5, 0.0),
)
"""What is read: the ladder's text of three families, of one act and of one or two steps."""


def make_snapshots(folder: Path, *, seed: int, at: Sequence[int]) -> None:
    """Pre-train once and write the weights after each of the given numbers of steps.

    Args:
        folder: gets ``0.safetensors``, ``1.safetensors``, …
        seed: of weights and text.
        at: steps, rising; the rate falls towards the last.
    """
    tokenizer = ladder_tokenizer()
    model = fresh_model(RUNG, tokenizer, seed=seed)
    world = micro_world()._replace(
        documents=lambda seed, n: pretraining.corpus(seed, n, MIXTURE)
    )
    text = stream(world, tokenizer, seed, documents=DOCUMENTS)
    steps = list(at)

    def keep(step: int, loss: float) -> None:
        if step in steps:
            weights = {
                name: weight.detach().clone() for name, weight in model.named_parameters()
            }
            save_file(weights, folder / f"{steps.index(step)}.safetensors")

    pretrain(model, text, Training(steps[-1], size_of(RUNG).rate), progress=keep)


def student_of(folder: Path, level: int) -> Student:
    """Return a fresh student of a level."""
    model = fresh_model(RUNG, ladder_tokenizer(), seed=0)
    with torch.no_grad():
        weights = load_file(folder / f"{level}.safetensors")
        for name, weight in model.named_parameters():
            weight.copy_(weights[name])
    model.train(False)
    return Student(model, ladder_tokenizer())


@cache
def ladder_tokenizer() -> PreTrainedTokenizerBase:
    """Return the tokenizer of the microworld."""
    return build_tokenizer(words.VOCABULARY, words.SPECIAL_TOKENS)
