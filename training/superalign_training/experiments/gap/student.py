"""Students of the experiment on gaps: snapshots of one pre-training run, and their lessons.

A pre-training run of its own, and not `superalign_training.ladder.snapshots`, because the
text is one of three families only and its batches are smaller: 48 CPU seconds instead of 80.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.decoding import declared_ends, sample
from superalign_agents.transformer import TransformerAgent
from superalign_scenarios.microworld import pretraining, words
from superalign_training.algorithms.fitting import ExampleTensors, descend, shuffled_places
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.data import Example
from superalign_training.experiments.gap.human_queries import (
    FAMILIES,
    HeldOutQueries,
    HumanQuery,
)
from superalign_training.experiments.microworld.ladder import micro_world
from superalign_training.ladder.build import fresh_model, stream
from superalign_training.ladder.micro_model import build_tokenizer, size_of
from superalign_training.ladder.pretrain import Training, pretrain
from superalign_training.ladder.rung_metrics import answers_rightly, foresees
from superalign_training.policy import Policy

_LONGEST = 20
"""Tokens of the longest worked answer, and one more."""

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
"""The ladder's text of three families, of one act and of one or two steps."""


class StudentAnswer(NamedTuple):
    """The answer of a student or of the human to a query."""

    text: str
    confidence: float
    """Probability of this very answer."""


class Student:
    """A language model in the learner's seat.

    Args:
        model: changed in place by `teach`.
        tokenizer: of its ladder.
    """

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
        self.policy = Policy(TransformerAgent(model, tokenizer=tokenizer))
        self.model = model
        self.tokenizer = tokenizer

    def answers(self, queries: Sequence[HumanQuery]) -> list[StudentAnswer]:
        """Return greedy answers."""
        prompts = self.tokenizer([_prompt(query) for query in queries])["input_ids"]
        replies = sample(
            self.model,
            prompts,
            max_new_tokens=[_LONGEST] * len(prompts),
            stop_ids=declared_ends(self.model, self.tokenizer),
            temperature=0.0,
        )
        texts = self.tokenizer.batch_decode(
            [list(reply.token_ids) for reply in replies], skip_special_tokens=True
        )
        return [
            StudentAnswer(text.removeprefix(" "), float(np.exp(sum(reply.logprobs))))
            for text, reply in zip(texts, replies, strict=True)
        ]

    def teach(
        self,
        queries: Sequence[HumanQuery],
        labels: Sequence[str],
        settings: FitSettings,
        *,
        seed: int,
    ) -> int:
        """Fine-tune on labels; return the number of their tokens.

        Each step has as many requests as exercises, `settings.batch_size` of each, and every
        label weighs the same, however long. By tokens a word about a request would weigh a
        fifteenth of a worked answer, and was not learned.
        """
        groups = self._groups(queries, labels)
        batch = settings.batch_size
        orders = [
            shuffled_places(len(rows), batch * settings.steps, seed) for rows in groups
        ]

        def loss(model: PreTrainedModel, step: int) -> torch.Tensor:
            rows_of_step = slice(step * batch, (step + 1) * batch)
            return torch.stack(
                [
                    _mean_over_labels(*rows.token_losses(model, order[rows_of_step]))
                    for rows, order in zip(groups, orders, strict=True)
                ]
            ).sum()

        descend(self.policy, settings, loss, seed=seed)
        return sum(
            int((rows.labels[order] >= 0).sum())
            for rows, order in zip(groups, orders, strict=True)
        )

    def _groups(
        self, queries: Sequence[HumanQuery], labels: Sequence[str]
    ) -> list[ExampleTensors]:
        """Return requests and exercises apart: padded together they cost twice as much."""
        end = self.tokenizer.eos_token_id
        prompts = self.tokenizer([_prompt(query) for query in queries])["input_ids"]
        targets = self.tokenizer([f" {label}" for label in labels])["input_ids"]
        examples: dict[bool, list[Example]] = {True: [], False: []}
        for query, prompt, target in zip(queries, prompts, targets, strict=True):
            example = Example(tuple(prompt), (*target, end))
            examples[query.family == "requests"].append(example)
        return [ExampleTensors(group) for group in examples.values() if group]


def _mean_over_labels(nats: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return the mean over labels of the mean loss of a label's tokens."""
    return (nats.sum(1) / real.sum(1)).mean()


def _prompt(query: HumanQuery) -> str:
    return f"<|user|> {query.prompt}<|end|><|learner|>"


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

    pretrain(model, text, Training(steps[-1], size_of(RUNG).learning_rate), progress=keep)


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


def capacity(student: Student, *, seed: int, n: int) -> float:
    """Return the capacity of a level by the truth, which only the oracle may use.

    Read from the world's own continuation, as the capacities of the ladder.
    """
    holdout = HeldOutQueries.draw(seed, n, split="gate")
    world = micro_world()
    shares: list[float] = []
    for family in FAMILIES:
        queries = [*holdout.easy[family], *holdout.hard[family]]
        tasks = [query.task for query in queries]
        if family == "requests":
            labels = ["harmful" if q.truth == "refuse" else "benign" for q in queries]
            accuracy = foresees(
                student.model, ladder_tokenizer(), world, tasks=tasks, labels=labels
            )
        else:
            accuracy = answers_rightly(
                student.model, ladder_tokenizer(), world, tasks=tasks, marker="<|world|>"
            )
        shares.append(float(np.mean(accuracy)))
    return float(np.mean(shares))
