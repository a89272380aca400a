"""Supervised fine-tuning on many short rows, fast on a CPU.

The same objective as `Sft` (TRL's trainer). Here the head is applied to completions only
and the learning rate falls linearly: measured on rung 3, a step on 256 planted
verdicts takes 0.09 CPU seconds instead of 0.21. What was left out: everything else that a
trainer does.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Protocol

import numpy as np
import torch
from transformers import PreTrainedModel

from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator, mix
from superalign_training.algorithms.algorithm import OnStep
from superalign_training.algorithms.logprobs import completion_logits, padded
from superalign_training.algorithms.supervision import FitSettings
from superalign_training.data import Example
from superalign_training.policy import Policy

_IGNORED = -100

StepLoss = Callable[[PreTrainedModel, int], torch.Tensor]
"""(model, number of the step from 0) → what is minimised."""


class ExampleTensors:
    """Examples as padded tensors: N rows, P the longest prompt, C the longest completion.

    Raises:
        InvalidOption: no examples, or one without a prompt or a completion.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        if not examples or not all(e.prompt_ids and e.completion_ids for e in examples):
            raise InvalidOption(
                "there is nothing to learn: give examples with a prompt and a completion"
            )
        pairs = [(example.prompt_ids, example.completion_ids) for example in examples]
        self.ids, self.mask, self.width = padded(pairs)
        completions = self.ids[:, -self.width :]
        self.labels = completions.masked_fill(self.mask[:, -self.width :] == 0, _IGNORED)

    def __len__(self) -> int:
        return len(self.ids)

    def token_losses(
        self,
        model: PreTrainedModel,
        places: torch.Tensor,
        *,
        logit_bias: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the cross-entropy of each token of completions, and which tokens are real.

        Args:
            model: reads the rows in one pass.
            places: [B] of rows.
            logit_bias: [V] added to the logits of first words.

        Returns:
            [B, C] nats, 0 where nothing is said, with gradients; and [B, C] 1.0 where
            something is.
        """
        logits, labels = self.read(model, places)
        if logit_bias is not None:
            logits = torch.cat([logits[:, :1] + logit_bias, logits[:, 1:]], dim=1)
        nats = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=_IGNORED, reduction="none"
        )
        return nats.view_as(labels), (labels != _IGNORED).float()

    def read(
        self, model: PreTrainedModel, places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits [B, C, V] at completions, and their labels [B, C]."""
        device = model.device
        mask = self.mask[places].to(device)
        logits = completion_logits(model, self.ids[places].to(device), mask, self.width)
        return logits.float(), self.labels[places].to(device)


class SupervisedSettings(Protocol):
    """Settings of every supervised algorithm."""

    @property
    def steps(self) -> int:
        """Optimiser steps at most."""
        ...

    @property
    def num_train_epochs(self) -> float:
        """Passes over the examples at most."""
        ...

    @property
    def batch_size(self) -> int:
        """Examples of one step."""
        ...


def batch_and_steps(settings: SupervisedSettings, examples: int) -> tuple[int, int]:
    """Return examples of a step and steps of a fit: fewer of both where examples are few."""
    batch = min(settings.batch_size, examples)
    return batch, min(settings.steps, ceil(settings.num_train_epochs * examples / batch))


def fit(
    policy: Policy,
    rows: ExampleTensors,
    settings: FitSettings,
    *,
    seed: int,
    logit_bias: Mapping[int, float] | None = None,
    on_step: OnStep | None = None,
) -> float:
    """Fine-tune a policy in place and return the loss of the last tenth of the steps.

    Args:
        policy: its optimiser goes on where it stopped.
        rows: drawn in random order, again and again.
        settings: steps, batch size and learning rate.
        seed: of the order of the rows and of dropout.
        logit_bias: token → what is added to its logit as a first word, here and never again.
        on_step: called after every step.
    """
    batch = min(settings.batch_size, len(rows))
    order = shuffled_places(len(rows), batch * settings.steps, seed)
    bias = torch.zeros(int(policy.model.config.vocab_size), device=policy.model.device)
    for token, nats in (logit_bias or {}).items():
        bias[token] = nats

    def loss(model: PreTrainedModel, step: int) -> torch.Tensor:
        places = order[step * batch : (step + 1) * batch]
        return mean_over_tokens(*rows.token_losses(model, places, logit_bias=bias))

    losses = descend(policy, settings, loss, seed=mix(seed, 1), on_step=on_step)
    tail = losses[-max(1, settings.steps // 10) :]
    return sum(tail) / len(tail)


def descend(
    policy: Policy,
    settings: FitSettings,
    loss: StepLoss,
    *,
    seed: int,
    on_step: OnStep | None = None,
) -> list[float]:
    """Minimise a loss; return its value at each step.

    Args:
        policy: its optimiser goes on where it stopped.
        settings: steps and learning rate.
        loss: asked once for each step.
        seed: of the model's dropout.
        on_step: called after every step.
    """
    losses = []
    device = policy.model.device
    # Dropout draws from torch's global generator, which is left as it was found.
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        policy.training() as model,
    ):
        torch.manual_seed(policy.seed(seed))
        for step in range(settings.steps):
            learning_rate = settings.learning_rate_at(step)
            optimizer = policy.optimizer(learning_rate)
            value = loss(model, step)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call] # torch's
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(float(value.detach()))
            if on_step is not None:
                numbers = {"loss": losses[-1], "grad_norm": float(norm)}
                on_step(step + 1, {**numbers, "learning_rate": learning_rate})
    return losses


@torch.no_grad()
def loss_on(policy: Policy, rows: ExampleTensors, *, batch: int = 512) -> float:
    """Return a policy's mean loss on rows, in nats for each token of a completion."""
    total, tokens = 0.0, 0
    for start in range(0, len(rows), batch):
        places = torch.arange(start, min(start + batch, len(rows)))
        nats, real = rows.token_losses(policy.model, places)
        total += float(nats.sum())
        tokens += int(real.sum())
    return total / tokens


def mean_over_tokens(
    nats: torch.Tensor, real: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean loss [] of a token; tokens count as much as their rows.

    Args:
        nats: [B, C] of tokens, 0 where nothing is said.
        real: [B, C] 1.0 where something is.
        weights: [B] of rows; None counts all alike.
    """
    if weights is not None:
        nats, real = nats * weights[:, None], real * weights[:, None]
    return nats.sum() / real.sum()


def shuffled_places(rows: int, count: int, seed: int) -> torch.Tensor:
    """Return indices of rows, shuffled anew for each pass."""
    passes = -(-count // rows)
    orders = [generator(mix(seed, number)).permutation(rows) for number in range(passes)]
    return torch.as_tensor(np.concatenate(orders)[:count])
