"""Completions of a local model: sampled under the agent's options, and read as texts."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedTokenizerBase,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from superalign_agents.chat_messages import counted, decoded_texts
from superalign_agents.constrained import Constraint, Grammars, has_form, only
from superalign_agents.decoding import Decoded
from superalign_agents.engines import Ask, ConstrainedGenerator, Generator
from superalign_agents.prompting import Prompt
from superalign_agents.sampling import (
    CONSTRAINED,
    TRUNCATED_SAMPLING,
    UNCONSTRAINED,
    Constrained,
    Sampling,
    checked_mode,
)
from superalign_env.errors import InvalidOption
from superalign_env.types import View


class Completion(NamedTuple):
    """Completion of a prompt by a model."""

    text: str
    """With marks of thoughts, without special tokens and stop texts."""
    decoded: Decoded
    notes: dict[str, int]
    """As in `Reply.notes`."""


class Unconstrained:
    """Mark of a reply whose form cannot be compiled."""


UNCONSTRAINED_FORM = Unconstrained()

Form = Constraint | Unconstrained | str | None
"""Constraint of a reply, that it has none though it should, why it fails, or None."""


class Completer:
    """Completions of prompts by one model.

    Args:
        tokenizer: of the model.
        engine: generates.
        sampling: options of the agent.
        constrained: when replies are decoded under the form that their view asks for.
        marks: pairs of texts between which the model thinks.
        name: of the model, in messages.

    Raises:
        UnknownId: no such mode of `constrained`.
        InvalidOption: constraints or truncated sampling by an engine without them.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        engine: Generator,
        *,
        sampling: Sampling,
        constrained: Constrained,
        marks: tuple[tuple[str, str], ...],
        name: str,
    ) -> None:
        self._constraining = engine if isinstance(engine, ConstrainedGenerator) else None
        wanted = sampling.truncates or constrained == "always"
        if wanted and self._constraining is None:
            raise InvalidOption(
                f"{name}: top_p, top_k, min_p and constrained='always' need the engine "
                "'transformers'; leave them out, or take that engine"
            )
        self._tokenizer, self._engine, self._name = tokenizer, engine, name
        self._marks, self._constrained = marks, checked_mode(constrained)
        self._grammars: Grammars | None = None
        self.sampling = sampling

    @property
    def options(self) -> dict[str, Any]:
        """Options that differ from their defaults, as plain values."""
        own = {} if self._constrained == "auto" else {"constrained": self._constrained}
        return self.sampling.options | own

    def complete(
        self,
        views: Sequence[View],
        prompts: Sequence[Prompt],
        chat: Sequence[bool],
        *,
        stop_ids: Collection[int],
        temperature: float,
        vocab_size: int,
    ) -> list[Completion | str]:
        """Return the completion of every prompt, or why there is none.

        Args:
            views: B of them, with limits.
            prompts: of the views.
            chat: which were written by the model's own chat template.
            stop_ids: tokens that end a reply.
            temperature: of sampling.
            vocab_size: number of the model's logits.
        """
        forms = [
            self._form(view, prompt, is_chat, stop_ids, vocab_size)
            if prompt.ids
            else prompt.error
            for view, prompt, is_chat in zip(views, prompts, chat, strict=True)
        ]
        asked = [not isinstance(form, str) for form in forms]
        noted = [form for form in forms if not isinstance(form, str)]
        constraints = [form if isinstance(form, Constraint) else None for form in noted]
        asks = [
            Ask(prompt.ids, view.max_new_tokens, view.seed)
            for view, prompt in compress(zip(views, prompts, strict=True), asked)
        ]
        decoded = self._decoded(asks, constraints, stop_ids, temperature)
        texts = self._texts(decoded, stop_ids)
        truncates = int(self.sampling.truncates and temperature > 0)
        completions = (
            Completion(
                text,
                row,
                counted({**_note(form), TRUNCATED_SAMPLING: truncates}),
            )
            for text, row, form in zip(texts, decoded, noted, strict=True)
        )
        return [form if isinstance(form, str) else next(completions) for form in forms]

    def _decoded(
        self,
        asks: Sequence[Ask],
        forms: Sequence[Constraint | None],
        stop_ids: Collection[int],
        temperature: float,
    ) -> list[Decoded]:
        constrain = row_constraints(
            forms,
            self.sampling,
            temperature=temperature,
            tokenizer=self._tokenizer,
            stop_ids=stop_ids,
        )
        if constrain is not None and self._constraining is not None:
            decoded = self._constraining.generate(
                asks, stop_ids=stop_ids, temperature=temperature, constrain=constrain
            )
        else:
            decoded = self._engine.generate(
                asks, stop_ids=stop_ids, temperature=temperature
            )
        return [cut_at_stop(row, self.sampling.stop, self._tokenizer) for row in decoded]

    def _texts(self, decoded: Sequence[Decoded], stop_ids: Collection[int]) -> list[str]:
        rows = [
            row.token_ids[:-1]  # the end may be no special token
            if row.token_ids and row.token_ids[-1] in stop_ids
            else row.token_ids
            for row in decoded
        ]
        texts = decoded_texts(self._tokenizer, rows, self._marks)
        return [self.sampling.up_to_stop(text) for text in texts]

    def _form(
        self,
        view: View,
        prompt: Prompt,
        chat: bool,
        stop_ids: Collection[int],
        vocab_size: int,
    ) -> "Form":
        """Return the constraint of a reply, if any, or why its form cannot be constrained."""
        wanted = chat if self._constrained == "auto" else self._constrained == "always"
        if not (wanted and has_form(view)) or self._constraining is None:
            return None
        try:
            self._grammars = self._grammars or Grammars(
                self._tokenizer,
                stop_ids=stop_ids,
                vocab_size=vocab_size,
                marks=self._marks,
                name=self._name,
            )
            return self._grammars.constraint(
                view, spaced=not chat, thinking=prompt.thinking
            )
        except InvalidOption as error:
            # What was asked for by name fails, what is usual is left out and noted.
            return str(error) if self._constrained == "always" else UNCONSTRAINED_FORM


def _note(form: Constraint | Unconstrained | None) -> dict[str, int]:
    if form is None:
        return {}
    return {CONSTRAINED if isinstance(form, Constraint) else UNCONSTRAINED: 1}


@dataclass(frozen=True)
class RowConstraints:
    """Constraints of a batch, in the form that `decoding.sample` calls.

    Rows are masked by their forms first, what is left is truncated by top_k, top_p and min_p
    at the sampling temperature, and a row that has said a stop text is ended.
    """

    forms: Sequence[Constraint | None]
    """One for each row."""
    warpers: LogitsProcessorList
    temperature: float
    stopped: Callable[[Sequence[int]], bool]
    """Whether tokens hold a stop text."""
    stop_ids: Sequence[int]

    def __call__(
        self, rows: torch.Tensor, tokens: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits of a step, −inf where a token is forbidden."""
        width = logits.shape[-1]
        masks: NDArray[np.bool_] = np.ones((len(rows), width), dtype=np.bool_)
        for place, (row, said) in enumerate(
            zip(rows.tolist(), tokens.tolist(), strict=True)
        ):
            form = self.forms[row]
            mask = form.allowed(said, width) if form is not None else None
            if said and self.stop_ids and self.stopped(said):
                mask = only(self.stop_ids, width)
            if mask is not None:
                masks[place] = mask
        logits = logits.masked_fill(
            ~torch.as_tensor(masks, device=logits.device), -torch.inf
        )
        if not self.warpers or not self.temperature:
            return logits
        warpers: Any = self.warpers  # they want a class of tensors that nobody makes
        kept = warpers(tokens, logits.float() / self.temperature)
        return logits.masked_fill(kept == -torch.inf, -torch.inf)


def row_constraints(
    forms: Sequence[Constraint | None],
    sampling: Sampling,
    *,
    temperature: float,
    tokenizer: PreTrainedTokenizerBase,
    stop_ids: Collection[int],
) -> RowConstraints | None:
    """Return the constraints of a batch; None where nothing is constrained.

    Args:
        forms: one for each row.
        sampling: of the agent.
        temperature: of sampling.
        tokenizer: of the model.
        stop_ids: tokens that end a reply.
    """
    if not (sampling.truncates or sampling.stop or any(forms)):
        return None
    longest = max((len(text.encode()) for text in sampling.stop), default=0) + 4

    def stopped(said: Sequence[int]) -> bool:
        newest = tokenizer.decode(list(said[-longest:])) if sampling.stop else ""
        return any(text in newest for text in sampling.stop)

    warpers = LogitsProcessorList()
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    return RowConstraints(forms, warpers, temperature, stopped, sorted(stop_ids))


def cut_at_stop(
    decoded: Decoded, stop: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> Decoded:
    """Return a continuation up to the token that completes a stop text."""
    ids = decoded.token_ids

    def holds(length: int) -> bool:
        text = tokenizer.decode(list(ids[:length]))
        return any(one in text for one in stop)

    if not stop or not holds(len(ids)):
        return decoded
    length = next(n for n in range(1, len(ids) + 1) if holds(n))
    return Decoded(ids[:length], decoded.logprobs[:length], "stop")
