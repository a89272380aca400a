"""A student: one snapshot of pre-training, taught labels and asked for answers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from superalign_agents.decoding import positions, sample
from superalign_env.seeding import generator, mix
from superalign_training.algorithms.updates.fitting import FitSettings, Rows
from superalign_training.experience import Example
from superalign_training.experiments.gap.world import Query

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

        The loop of `superalign_training.algorithms.updates.fitting` with another loss:
        each step has as many requests as exercises, `settings.batch_size` of each, and every
        label weighs the same, however long. By tokens a word about a request would weigh a
        fifteenth of a worked answer, and was not learned.
        """
        groups = self._groups(queries, labels)
        optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=0.0, betas=(0.9, 0.98), weight_decay=0.0
        )
        orders = [
            _order(len(rows), settings.batch_size * settings.steps, seed) for rows in groups
        ]
        self.model.train(True)
        for step in range(settings.steps):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate_at(step)
            optimiser.zero_grad()
            for rows, order in zip(groups, orders, strict=True):
                places = order[
                    step * settings.batch_size : (step + 1) * settings.batch_size
                ]
                torch.autograd.backward(_loss(self.model, rows, places))
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimiser.step()
        self.model.train(False)
        return sum(
            int((rows.labels[order] >= 0).sum())
            for rows, order in zip(groups, orders, strict=True)
        )

    def _groups(self, queries: Sequence[Query], labels: Sequence[str]) -> list[Rows]:
        """Return requests and exercises apart: padded together they cost twice as much."""
        end = self.tokenizer.eos_token_id
        prompts = self.tokenizer([_shown(query) for query in queries])["input_ids"]
        said = self.tokenizer([f" {label}" for label in labels])["input_ids"]
        examples: dict[bool, list[Example]] = {True: [], False: []}
        for query, prompt, words in zip(queries, prompts, said, strict=True):
            example = Example(tuple(prompt), (*words, end))
            examples[query.family == "requests"].append(example)
        return [Rows(group) for group in examples.values() if group]


def _loss(model: LlamaForCausalLM, rows: Rows, places: torch.Tensor) -> torch.Tensor:
    """Return the mean over labels of the mean loss of a label's tokens."""
    mask = rows.mask[places]
    logits = model(
        input_ids=rows.ids[places],
        attention_mask=mask,
        position_ids=positions(mask),
        logits_to_keep=rows.completion + 1,
    ).logits[:, :-1]
    labels = rows.labels[places]
    losses = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, reduction="none"
    )
    said = labels >= 0
    return ((losses * said).sum(1) / said.sum(1)).mean()


def _order(rows: int, wanted: int, seed: int) -> torch.Tensor:
    """Return places of rows, each pass over all of them in another order."""
    passes = -(-wanted // rows)
    orders = [generator(mix(seed, number)).permutation(rows) for number in range(passes)]
    return torch.as_tensor(np.concatenate(orders)[:wanted])


def _shown(query: Query) -> str:
    return f"<|user|> {query.prompt}<|end|><|learner|>"
