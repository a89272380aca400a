"""A student: one snapshot of pre-training, taught labels and asked for answers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from superalign_agents.decoding import sample
from superalign_agents.transformer import TransformerAgent
from superalign_training.algorithms.fitting import ExampleTensors, descend, shuffled_places
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.data import Example
from superalign_training.experiments.gap.world import Query
from superalign_training.policy import Policy

_LONGEST = 20
"""Tokens of the longest worked answer, and one more."""


class Answer(NamedTuple):
    """What somebody says to a query."""

    text: str
    confidence: float
    """Probability of saying just that."""


class Student:
    """A language model that sits in the learner's seat.

    Args:
        model: changed in place by `teach`.
        tokenizer: of its ladder.
    """

    def __init__(self, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
        self.policy = Policy(TransformerAgent(model, tokenizer=tokenizer))
        self.model = model
        self.tokenizer = tokenizer

    def answers(self, queries: Sequence[Query]) -> list[Answer]:
        """Return greedy answers."""
        prompts = self.tokenizer([_shown(query) for query in queries])["input_ids"]
        said = sample(
            self.model,
            prompts,
            max_new_tokens=[_LONGEST] * len(prompts),
            stop_ids={self.tokenizer.eos_token_id},
            temperature=0.0,
        )
        texts = self.tokenizer.batch_decode(
            [list(one.token_ids) for one in said], skip_special_tokens=True
        )
        return [
            Answer(text.removeprefix(" "), float(np.exp(sum(one.logprobs))))
            for text, one in zip(texts, said, strict=True)
        ]

    def teach(
        self,
        queries: Sequence[Query],
        labels: Sequence[str],
        settings: FitSettings,
        *,
        seed: int,
    ) -> int:
        """Fine-tune on labels; return how many of their tokens were learned from.

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
            chosen = slice(step * batch, (step + 1) * batch)
            return torch.stack(
                [
                    _mean_over_labels(*rows.token_losses(model, order[chosen]))
                    for rows, order in zip(groups, orders, strict=True)
                ]
            ).sum()

        descend(self.policy, settings, loss)
        return sum(
            int((rows.labels[order] >= 0).sum())
            for rows, order in zip(groups, orders, strict=True)
        )

    def _groups(
        self, queries: Sequence[Query], labels: Sequence[str]
    ) -> list[ExampleTensors]:
        """Return requests and exercises apart: padded together they cost twice as much."""
        end = self.tokenizer.eos_token_id
        prompts = self.tokenizer([_shown(query) for query in queries])["input_ids"]
        said = self.tokenizer([f" {label}" for label in labels])["input_ids"]
        examples: dict[bool, list[Example]] = {True: [], False: []}
        for query, prompt, words in zip(queries, prompts, said, strict=True):
            example = Example(tuple(prompt), (*words, end))
            examples[query.family == "requests"].append(example)
        return [ExampleTensors(group) for group in examples.values() if group]


def _mean_over_labels(nats: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Return the mean over labels of the mean loss of a label's tokens."""
    return (nats.sum(1) / real.sum(1)).mean()


def _shown(query: Query) -> str:
    return f"<|user|> {query.prompt}<|end|><|learner|>"
