"""Exchanges as a classifier reads them: tokens within its own length, and their types."""

import re
from typing import Any, Literal, get_args

import torch

from superalign_agents.chat_messages import counted
from superalign_agents.chat_template import ChatTemplate, TemplateFailed
from superalign_agents.keyword import exchange, most_within, without_middle
from superalign_agents.ladders import MICRO_CHAT_TEMPLATE
from superalign_agents.prompting import INERT, TRUNCATED, ControlTokens, Prompt
from superalign_env.errors import InvalidOption
from superalign_env.types import View

Reading = Literal["auto", "text", "chat", "pair", "answer"]

_ANSWER_SHARE = 4
"""A long request leaves one token in so many to the answer."""

_SEAT_MARKER = re.compile(r"<\|\w+\|>$")


class ClassifierInput:
    """Tokens that a classifier reads of a view.

    Args:
        model: the classifier.
        tokenizer: belongs to it.
        reading: see `superalign_agents.classifier.ClassifierCritic`.
        answers: role whose latest turn is judged.
        name: of the model, in messages.

    Raises:
        InvalidOption: a reading that the tokenizer cannot serve.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, reading: Reading, answers: str, name: str
    ) -> None:
        self._tokenizer = tokenizer
        self._source = name
        self._answers = answers
        self._reading = self._read_as(reading)
        chat = self._reading == "chat"
        self._chat = ChatTemplate(tokenizer, name=name) if chat else None
        literals = self._chat.markers if self._chat else []
        self._control = ControlTokens(tokenizer, literals)
        self._limit = longest_row(model, tokenizer)
        self.separator = self._pair_separator(model)
        """Token after which the second text of a pair has a type of its own, if it has."""

    def prompt(self, view: View) -> Prompt:
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
        if self._reading == "answer":
            alone: list[int] = self._tokenizer(answer, verbose=False)["input_ids"]
            return alone
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
        least = most_within(
            lambda n: self._exchange("", without_middle(answer, n)), len(answer), room
        )
        kept = most_within(
            lambda n: self._exchange(
                without_middle(request, n), without_middle(answer, least)
            ),
            len(request),
            self._limit,
        )
        short = without_middle(request, kept)
        said = most_within(
            lambda n: self._exchange(short, without_middle(answer, n)),
            len(answer),
            self._limit,
        )
        ids = self._exchange(short, without_middle(answer, said))
        return ids if len(ids) <= self._limit else []

    def _read_as(self, reading: Reading) -> Reading:
        template = self._tokenizer.chat_template
        if reading not in get_args(Reading):
            raise InvalidOption(
                f"reading must be auto, text, chat, pair or answer, not {reading!r}"
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

    def _pair_separator(self, model: Any) -> int | None:
        """Return the token after which the second text of a pair has a type of its own.

        None where the model tells no types, as RoBERTa.

        Raises:
            InvalidOption: a tokenizer that types pairs in another way.
        """
        kinds = int(getattr(model.config, "type_vocab_size", 0) or 0)
        typed = "token_type_ids" in self._tokenizer.model_input_names
        if self._reading != "pair" or kinds < 2 or not typed:
            return None
        probe = self._tokenizer("a", "b")
        types, separator = list(probe["token_type_ids"]), self._tokenizer.sep_token_id
        if not any(types):
            return None
        ids = list(probe["input_ids"])
        if separator in ids:
            end = ids.index(separator) + 1
            if types == [0] * end + [1] * (len(ids) - end):
                return int(separator)
        raise InvalidOption(
            f"the tokenizer of {self._source} marks pairs of texts in a way that is not known "
            "here; take reading='answer', or write a chat template and take reading='chat'"
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
