"""Token ids in, token ids and log-probabilities out: what an agent needs of an engine.

An engine holds weights of its own or borrows those of the model; either way it is told
before it speaks which policy it must speak for, so that a record never names other
weights than those that spoke.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from transformers import PreTrainedModel

from superalign_agents.decoding import Decoded, sample


class Ask(NamedTuple):
    """One prompt to continue."""

    prompt_ids: Sequence[int]
    """At least one token."""
    max_new_tokens: int
    """At least 1."""
    seed: int
    """Of this reply alone, whoever shares its batch."""


class Generator(Protocol):
    """An engine."""

    def speak_for(self, policy: str, model: PreTrainedModel) -> None:
        """Take the weights of a policy, unless they are here already.

        Args:
            policy: content hash of the weights.
            model: holds them.
        """
        ...

    def generate(
        self, asks: Sequence[Ask], *, stop_ids: Collection[int], temperature: float
    ) -> list[Decoded]:
        """Continue every prompt until a stop token or its limit, in order."""
        ...


class InProcess:
    """Decodes with the very model that is trained; see `superalign_agents.decoding`."""

    def __init__(self) -> None:
        self._model: PreTrainedModel | None = None

    def speak_for(self, policy: str, model: PreTrainedModel) -> None:
        """Borrow the model: its weights are always the newest."""
        self._model = model

    def generate(
        self, asks: Sequence[Ask], *, stop_ids: Collection[int], temperature: float
    ) -> list[Decoded]:
        """Continue every prompt; a row's random numbers come from its own seed."""
        assert self._model is not None, "speak_for comes first"
        return sample(
            self._model,
            [ask.prompt_ids for ask in asks],
            [ask.seed for ask in asks],
            max_new_tokens=[ask.max_new_tokens for ask in asks],
            stop_ids=stop_ids,
            temperature=temperature,
        )
