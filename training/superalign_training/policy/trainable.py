"""The trained part of a policy: weights, value head, optimiser state and baselines."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from superalign_agents.transformer import TransformerAgent
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.optimizer import MasterAdamW, OptimizerState, Weights
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.policy.value_head import (
    LogitsAndValues,
    ValueHead,
    logits_and_values,
    values_of,
)


class TrainableModel:
    """A causal LM (or its adapter), a value head, an optimiser and baselines.

    Args:
        agent: speaks; its model is changed in place, or the adapter that it wears.
    """

    def __init__(self, agent: TransformerAgent) -> None:
        self.agent = agent
        self.optimizer_state = OptimizerState(self.model_weights, self.head_weights)
        self.baselines = Baselines()
        self._head: ValueHead | None = None

    @property
    def model(self) -> PreTrainedModel:
        """The language model; only what is trained requires gradients."""
        return self.agent.model

    @contextmanager
    def training(self, *, dropout: bool = True) -> Iterator[PreTrainedModel]:
        """Yield the model in training mode; leave it ready to generate.

        TRL's trainers put a `forward` of their own on a model and leave it there; it is
        taken off, or a policy trained for many rounds would call through all of them. They
        also switch the cache of keys and values off, for whoever loads the checkpoint too.

        Args:
            dropout: whether the model's own takes place. Without it log-probs are those of
                the rollout, and activations may still be recomputed, which they are in
                training mode alone.
        """
        config: Any = self.model.config
        cached = getattr(config, "use_cache", None)
        self.model.train(True)
        rates = [] if dropout else _without_dropout(self.model)
        try:
            yield self.model
        finally:
            for module, name, rate in rates:
                setattr(module, name, rate)
            self.model.__dict__.pop("forward", None)
            if cached is not None:
                config.use_cache = cached
            for weight in self.trained_weights().values():
                weight.grad = None
            self.model.train(False)
            self.agent.refresh()

    @property
    def updates(self) -> int:
        """Optimiser steps so far."""
        return self.optimizer_state.updates

    def optimizer(
        self, learning_rate: float, *, value_learning_rate: float | None = None
    ) -> MasterAdamW:
        """Return the policy's own optimiser, with its moments, at a learning rate.

        Args:
            learning_rate: of the language model.
            value_learning_rate: of the value head, if there is one; None is the same.
        """
        head_rate = learning_rate if value_learning_rate is None else value_learning_rate
        return self.optimizer_state.at(learning_rate, head_rate)

    def optimizers(
        self,
        learning_rate: float,
        lr_schedule: Schedule = CONSTANT,
        *,
        value_learning_rate: float | None = None,
    ) -> tuple[MasterAdamW, LambdaLR]:
        """Return the optimiser and a schedule that continues from the policy's step count.

        Args:
            learning_rate: of the language model, before the schedule's factor.
            lr_schedule: how it changes over the policy's life.
            value_learning_rate: of the value head, if there is one; None is the same.
        """
        adamw = self.optimizer(learning_rate, value_learning_rate=value_learning_rate)
        return adamw, self.optimizer_state.schedule(adamw, lr_schedule)

    def seed(self, seed: int) -> int:
        """Return a seed for randomness in training.

        It depends on the number of updates, so that a policy that was stopped and loaded
        draws what it would have drawn.
        """
        text = f"{seed}/{self.updates}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) >> 1

    def model_weights(self) -> Weights:
        """Return the trained weights of the language model, or of its adapter, by name."""
        parameters = self.model.named_parameters()
        return {name: weight for name, weight in parameters if weight.requires_grad}

    def head_weights(self) -> Weights:
        """Return the weights of the value head by name; none if there is no head."""
        if self._head is None:
            return {}
        return dict(self._head.named_parameters(prefix="value_head"))

    def trained_weights(self) -> Weights:
        """Return all trained weights by name."""
        return {**self.model_weights(), **self.head_weights()}

    def snapshot(self) -> dict[str, torch.Tensor]:
        """Return a copy of the trained weights and their masters, for `restore`."""
        weights = self.trained_weights().items()
        copies = {name: weight.detach().clone() for name, weight in weights}
        return {**copies, **self.optimizer_state.masters()}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Restore the weights of a snapshot and reset the optimiser's moments."""
        with torch.no_grad():
            for name, weight in self.trained_weights().items():
                if name in weights:
                    weight.copy_(weights[name])
                else:  # a value head younger than the snapshot
                    weight.zero_()
        self.optimizer_state.forget(weights)
        self.agent.refresh()

    @property
    def has_value_head(self) -> bool:
        """Whether there is a value head already."""
        return self._head is not None

    @property
    def value_head(self) -> ValueHead:
        """The value head, created on first use with all values 0."""
        if self._head is None:
            self._head = ValueHead.of(self.model)
        return self._head

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, *, keep: int = 0
    ) -> LogitsAndValues:
        """Return logits and values from one pass, with gradients.

        Args:
            ids: [B, T] tokens, padded on either side.
            mask: [B, T] 1 where a token is real.
            keep: only the last so many positions are wanted; 0 means all.
        """
        return logits_and_values(self.model, self.value_head, ids=ids, mask=mask, keep=keep)

    def values(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return values [B, T] after each position, float32, without gradients.

        Args:
            ids: [B, T] tokens, padded on either side.
            mask: [B, T] 1 where a token is real.
        """
        with torch.no_grad():
            return values_of(self.model, self.value_head, ids=ids, mask=mask)


def _without_dropout(model: PreTrainedModel) -> list[tuple[Any, str, float]]:
    """Set all dropout rates to 0; return (module, attribute, rate) of the former ones.

    Attention and some blocks call the function with a rate of their own (`attn_dropout`,
    `dropout`, `layerdrop`), so that layers of the class `Dropout` are not all there is.
    """
    rates: list[tuple[Any, str, float]] = []
    for module in model.modules():
        names = ["p"] if isinstance(module, torch.nn.Dropout) else list(vars(module))
        for name in names:
            rate = getattr(module, name)
            if isinstance(rate, float) and (name == "p" or "drop" in name):
                rates.append((module, name, rate))
                setattr(module, name, 0.0)
    return rates
