"""A sequence classifier as a critic: any guard model, or a reward model trained here."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from superalign_agents.batching import BatchSplitter, is_out_of_memory, right_padded
from superalign_agents.chat_messages import counted
from superalign_agents.chat_template import ChatTemplate, TemplateFailed
from superalign_agents.checkpoints import (
    check_vocabulary,
    load_classifier,
    load_tokenizer,
    weights_hash,
)
from superalign_agents.keyword import exchange
from superalign_agents.ladders import MICRO_CHAT_TEMPLATE
from superalign_agents.prompting import INERT, TRUNCATED, ControlTokens, Prompt
from superalign_env.errors import InvalidOption
from superalign_env.plain_text import one_line
from superalign_env.types import AgentSpec, Fault, Reply, Usage, Verdict, View
from superalign_env.verdicts import to_form

Reading = Literal["auto", "text", "chat", "pair"]

GOOD_LABELS = (
    "safe",
    "benign",
    "good",
    "harmless",
    "acceptable",
    "non-toxic",
    "not_toxic",
    "positive",
)
"""Names under which a guard's good class is found, in this order."""

_LEFT_OUT = " […] "

_ANSWER_SHARE = 4
"""A long request leaves one token in so many to the answer."""

_SEAT_MARKER = re.compile(r"<\|\w+\|>$")


class ClassifierCritic:
    """Critic whose verdict is the score of a sequence classifier.

    Of a model with one output (a reward model) the score is the logistic function of it;
    of one with several it is the probability of the good class. Confidence is twice the
    distance of the score from 0.5. Its weights are safetensors, and no code of its own is
    run. Of an exchange over its length the middle of the answer is left out, then that of
    the request; notes of the reply count the tokens.

    Args:
        model: folder or hub name of a sequence classifier; a folder that
            `superalign_training.algorithms.trained_reward_model` wrote is one.
        good: name of the good class; found by itself under the usual names.
        fault: kind of the fault that a low score claims.
        reading: ``text`` is the view without the marker that asks the critic to speak (what
            micro models read), ``chat`` the exchange through the tokenizer's template,
            ``pair`` request and answer as a pair of texts; ``auto`` chooses by the tokenizer.
        device: where the model shall live.
        batch: largest number of views scored at once.
        answers: role whose latest turn is judged.

    Raises:
        InvalidOption: no classifier, or one whose good class is not known.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        good: str = "",
        fault: str = "wrong",
        reading: Reading = "auto",
        device: str = "cpu",
        batch: int = 128,
        answers: str = "learner",
    ) -> None:
        self._source = str(model)
        self._model: Any = load_classifier(model, device=device)
        self._tokenizer: Any = load_tokenizer(model)
        check_vocabulary(self._model, self._tokenizer)
        self._fault = fault
        self._answers = answers
        self._reading = self._read_as(reading)
        self._good = self._class_index(good)
        chat = self._reading == "chat"
        self._chat = ChatTemplate(self._tokenizer, name=self._source) if chat else None
        literals = self._chat.markers if self._chat else []
        self._control = ControlTokens(self._tokenizer, literals)
        self._limit = longest_row(self._model, self._tokenizer)
        pad = self._model.config.pad_token_id
        if pad is not None and not 0 <= pad < len(self._tokenizer):
            pad = None
        self._pad_token_id = 0 if pad is None else int(pad)
        # Without a padding token each row is a batch of its own.
        self._splitter = BatchSplitter(1 if pad is None else batch, name=self._source)
        self._spec = AgentSpec(
            "classifier",
            {
                "model": self._source,
                "good": good,
                "fault": fault,
                "reading": reading,
                "answers": answers,
            },
            weights_hash(self._model),
        )

    @property
    def spec(self) -> AgentSpec:
        """The model and how it is read; the device belongs to the machine."""
        return self._spec

    def act(self, views: Sequence[View]) -> list[Reply]:
        """Return one verdict per view; score 0.5 and confidence 0 where there is no answer."""
        return self._splitter.map(self._judged, views)

    def scores(self, rows: Sequence[Sequence[int]]) -> list[float]:
        """Return the score of token rows, in [0, 1].

        Args:
            rows: none empty.
        """
        ids, attention_mask = right_padded(
            rows, pad_token_id=self._pad_token_id, device=self._model.device
        )
        with torch.inference_mode():
            logits = self._model(
                input_ids=ids, attention_mask=attention_mask
            ).logits.double()
        scores: torch.Tensor = (
            torch.sigmoid(logits[:, 0])
            if logits.shape[1] == 1
            else torch.softmax(logits, dim=-1)[:, self._good]
        )
        return [float(score) for score in scores]

    def _judged(self, views: Sequence[View]) -> list[Reply]:
        prompts = [self._prompt(view) for view in views]
        with_answer = [place for place, prompt in enumerate(prompts) if prompt.ids]
        scores = self._scores_apart([prompts[place].ids for place in with_answer])
        score_at = dict(zip(with_answer, scores, strict=True))
        return [
            self._reply(
                view, score_at.get(place, prompts[place].error or 0.5), prompts[place]
            )
            for place, view in enumerate(views)
        ]

    def _scores_apart(self, rows: Sequence[list[int]]) -> list[float | str]:
        """Return the score of each row, or why it has none; no row harms another."""
        if not rows:
            return []
        try:
            return [*self.scores(rows)]
        except (RuntimeError, IndexError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            if len(rows) == 1:
                return [one_line(str(error), 200)]
        return [score for row in rows for score in self._scores_apart([row])]

    def _reply(self, view: View, score: float | str, prompt: Prompt) -> Reply:
        if isinstance(score, str):
            error = f"{self._source} cannot judge: {score}"
            return Reply("", finish="error", policy=self._spec.policy, error=error)
        faults = (Fault(self._fault, "", 1.0 - score),) if score < 0.5 else ()
        verdict = Verdict(score, abs(2.0 * score - 1.0), faults)
        return Reply(
            to_form(verdict, view.form),
            finish="stop",
            usage=Usage(len(prompt.ids), 0),
            policy=self._spec.policy,
            notes=prompt.notes,
        )

    def _prompt(self, view: View) -> Prompt:
        """Return the tokens that the classifier reads; none where there is no answer."""
        request, answer = exchange(view, self._answers)
        if not answer:
            return Prompt([])
        if self._reading == "text":
            return self._text(_SEAT_MARKER.sub("", view.text))
        (request, first), (answer, second) = map(self._control.inert, (request, answer))
        try:
            ids = self._exchange(request, answer)
            dropped = 0
            if self._limit and len(ids) > self._limit:
                dropped, ids = len(ids), self._shortened(request, answer)
                dropped -= len(ids)
        except TemplateFailed as error:
            return Prompt([], error=f"its chat template refuses the exchange: {error}")
        if not ids:
            return Prompt(
                [], error=f"not even a short exchange fits its {self._limit} tokens"
            )
        return Prompt(ids, counted({INERT: first + second, TRUNCATED: dropped}))

    def _text(self, text: str) -> Prompt:
        """Return the tokens of a view's text, of which the oldest are left out."""
        ids: list[int] = self._tokenizer(text, verbose=False)["input_ids"]
        over = len(ids) - self._limit if self._limit else 0
        if over <= 0:
            return Prompt(ids)
        bare: list[int] = self._tokenizer(text, add_special_tokens=False, verbose=False)[
            "input_ids"
        ]
        extra = len(ids) - len(bare)
        start = ids.index(bare[0]) if extra and bare else 0
        end = extra - start
        kept = ids[start + over : len(ids) - end]
        return Prompt(
            [*ids[:start], *kept, *ids[len(ids) - end :]], counted({TRUNCATED: over})
        )

    def _exchange(self, request: str, answer: str) -> list[int]:
        """Return the tokens of request and answer, however many there are."""
        if self._chat is None:
            pair: list[int] = self._tokenizer(request, answer, verbose=False)["input_ids"]
            return pair
        messages = [
            {"role": "user", "content": request},
            {"role": "assistant", "content": answer},
        ]
        text = self._chat.render(messages, generation=False)
        ids: list[int] = self._tokenizer(text, verbose=False, add_special_tokens=False)[
            "input_ids"
        ]
        return ids

    def _shortened(self, request: str, answer: str) -> list[int]:
        """Return the longest tokens within the limit, special ones and the request whole."""
        room = len(self._exchange("", "")) + self._limit // _ANSWER_SHARE
        least = _most(lambda n: self._exchange("", _cut(answer, n)), len(answer), room)
        kept = _most(
            lambda n: self._exchange(_cut(request, n), _cut(answer, least)),
            len(request),
            self._limit,
        )
        short = _cut(request, kept)
        said = _most(
            lambda n: self._exchange(short, _cut(answer, n)), len(answer), self._limit
        )
        ids = self._exchange(short, _cut(answer, said))
        return ids if len(ids) <= self._limit else []

    def _read_as(self, reading: Reading) -> Reading:
        template = self._tokenizer.chat_template
        if reading not in ("auto", "text", "chat", "pair"):
            raise InvalidOption(
                f"reading must be auto, text, chat or pair, not {reading!r}"
            )
        if reading == "chat" and not template:
            raise InvalidOption(
                f"the tokenizer of {self._source} has no chat template; take reading='pair'"
            )
        if reading != "auto":
            return reading
        if template == MICRO_CHAT_TEMPLATE:
            return "text"
        return "chat" if template else "pair"

    def _class_index(self, good: str) -> int:
        """Return the index of the good class."""
        names = {
            str(name).casefold(): int(place)
            for place, name in self._model.config.id2label.items()
        }
        if len(names) == 1:
            return 0
        names_of_good = [good.casefold()] if good else list(GOOD_LABELS)
        for name in names_of_good:
            if name in names:
                return names[name]
        raise InvalidOption(
            f"{self._source} has the classes {', '.join(names)}; say which of them is good: "
            f"good={next(iter(names))!r}"
        )


def longest_row(model: Any, tokenizer: Any) -> int:
    """Return the most tokens that a model reads at once; 0 where nothing limits them.

    RoBERTa and its like begin to count positions after the padding's, so they have fewer
    than their configuration says.
    """
    limits = [int(getattr(model.config, "max_position_embeddings", 0) or 0)]
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) and "position" in name.rpartition(".")[2]:
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - before)
    declared = int(getattr(tokenizer, "model_max_length", 0) or 0)
    limits.append(declared if declared < _NO_LIMIT else 0)
    return min((limit for limit in limits if limit > 0), default=0)


_NO_LIMIT = 10**9
"""Tokenizers that know no length name a larger one."""


def _cut(text: str, most: int) -> str:
    """Return a text, or its beginning and end where it has more characters."""
    if most >= len(text):
        return text
    tail = most // 2
    return text[: most - tail] + _LEFT_OUT + text[len(text) - tail :]


def _most(ids_of: Callable[[int], list[int]], high: int, limit: int) -> int:
    """Return the largest number, up to one, whose tokens are within a limit; else 0."""
    if len(ids_of(high)) <= limit:  # what says that something is left out is longer
        return high
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        if len(ids_of(middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
