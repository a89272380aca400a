"""Prompts of a local model: views as token ids, with nobody's text read as control tokens.

What a tokenizer or its chat template uses to mark turns is made inert in authors' texts.
Prompts over the context are refused or cut by a setting. Whatever was done to a prompt is
counted in its notes.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from msgspec.structs import replace
from transformers import PreTrainedTokenizerBase

from superalign_agents.chat_messages import (
    ControlText,
    Conversation,
    conversation,
    counted,
    marks_of,
)
from superalign_agents.chat_template import ChatTemplate, TemplateFailed, render_all
from superalign_agents.ladders import MICRO_CHAT_TEMPLATE
from superalign_env.errors import InvalidOption, UnknownId
from superalign_env.types import View

Template = Literal["auto", "plain", "chat"]

Truncation = Literal["keep_system", "drop_oldest", "refuse"]

TRUNCATIONS: tuple[Truncation, ...] = ("keep_system", "drop_oldest", "refuse")

INERT, FOLDED, TRUNCATED = (
    "prompt.made-inert",
    "prompt.system-folded",
    "prompt.truncated",
)
"""Notes: control texts made inert; system text joined a user's; tokens left out."""

_SEAT_MARKER = re.compile(r"<\|\w+\|>$")
_LEFT_OUT = "[…] "


class Prompt(NamedTuple):
    """The prompt of a view, as a model reads it."""

    ids: list[int]
    notes: dict[str, int] = {}  # noqa: RUF012 (never changed)
    """As in `Reply.notes`."""
    error: str = ""
    """Why there is no prompt."""
    thinking: bool = False
    """Whether it ends within a thought, which the model goes on with."""


class ControlTokens:
    """Texts that a tokenizer reads as special or added tokens, and their look-alikes.

    Args:
        tokenizer: whose tokens.
        others: further texts that mark turns.
        but: beginning of tokens that the view's renderer alone writes.
    """

    def __init__(
        self, tokenizer: Any, others: Sequence[str] = (), *, but: str = ""
    ) -> None:
        added = [token.content for token in tokenizer.added_tokens_decoder.values()]
        tokens = [*added, *tokenizer.all_special_tokens, *others]
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._normalizer: Any = getattr(backend, "normalizer", None)
        lower = self._normalizer is not None and self._normal("A") != "A"
        self._control = ControlText(
            [token for token in tokens if not (but and token.startswith(but))],
            ignore_case=lower,
        )

    def inert(self, text: str) -> tuple[str, int]:
        """Return a text that holds none of them, and how many it held.

        A text in which one appears only after the tokenizer has normalised it (full-width
        forms, for instance) is taken in its normal form.
        """
        text, count = self._control.inert(text)
        if self._normalizer is not None and not text.isascii():
            normal = self._normal(text)
            if self._control.found_in(normal):
                text, more = self._control.inert(normal)
                count += more
        return text, count

    def _normal(self, text: str) -> str:
        """Return a text as the tokenizer normalises it, sentencepiece's spaces undone."""
        normal: str = self._normalizer.normalize_str(text)
        return normal.replace("▁", " ").removeprefix("" if text[:1] == " " else " ")


class PromptMaker:
    """Views as token ids, for one tokenizer.

    Args:
        tokenizer: of the model.
        template: how a view becomes a prompt, see `TransformerAgent`.
        truncation: what is done where prompt and reply exceed the context.
        thought_marks: pairs of texts between which the model thinks.
        blind: words that are removed from every prompt.
        name: of the model, in messages.

    Raises:
        UnknownId: no such truncation.
        InvalidOption: a chat template that is missing or cannot be rendered.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: Template,
        truncation: Truncation,
        thought_marks: tuple[tuple[str, str], ...],
        blind: tuple[str, ...],
        name: str,
    ) -> None:
        if truncation not in TRUNCATIONS:
            raise UnknownId("truncation", str(truncation), TRUNCATIONS)
        written = tokenizer.chat_template
        if template == "chat" and not written:
            raise InvalidOption(
                f"{name} has no chat template; use template='plain' or set "
                "tokenizer.chat_template"
            )
        self._tokenizer = tokenizer
        self._template = template
        self._truncation = truncation
        self._marks = thought_marks
        self._blind = blind
        self._micro = written == MICRO_CHAT_TEMPLATE
        self._added = set(tokenizer.get_added_vocab())
        chat = bool(written) and template != "plain" and not self._micro
        self.chat = ChatTemplate(tokenizer, name=name) if chat else None
        """The chat template; None where views are read as plain text."""
        markers = self.chat.markers if self.chat else []
        others = [*markers, *marks_of(thought_marks)]
        self._control = ControlTokens(tokenizer, others)
        # In microworld words the renderer writes markers and fences authors' texts.
        self._fenced = ControlTokens(tokenizer, others, but="<|")
        start = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        self._start_ids = [int(token) for token in start if token is not None][:1]

    def uses_chat(self, view: View) -> bool:
        """Whether a view is read as messages."""
        if self._template == "auto":
            return self.chat is not None and bool(view.messages)
        return self._template == "chat"

    def prompts(self, views: Sequence[View], context: int) -> list[Prompt]:
        """Return the prompt of each view, tokenised together.

        Args:
            views: any number.
            context: longest prompt and reply together, in tokens.
        """
        if self._blind:
            views = [without_words(view, self._blind) for view in views]
        chat = [self.uses_chat(view) for view in views]
        rendered = iter(
            self._chat_texts([v for v, c in zip(views, chat, strict=True) if c])
        )
        plain = iter(self._plain([v for v, c in zip(views, chat, strict=True) if not c]))
        prompts = [next(rendered) if is_chat else next(plain) for is_chat in chat]
        return [
            self._fitting(view, prompt, context - view.max_new_tokens, is_chat)
            for view, prompt, is_chat in zip(views, prompts, chat, strict=True)
        ]

    def _fitting(self, view: View, prompt: Prompt, limit: int, chat: bool) -> Prompt:
        """Return a prompt within the limit, cut as the setting says."""
        if prompt.error or len(prompt.ids) <= limit:
            return prompt
        if limit <= 0:
            return prompt._replace(ids=[])
        length = len(prompt.ids)
        if self._truncation == "refuse":
            return Prompt(
                [],
                error=f"the prompt of {length} tokens exceeds the {limit} that its context "
                f"leaves beside a reply of {view.max_new_tokens}; raise max_context, lower "
                "max_new_tokens, or set truncation='keep_system'",
            )
        if chat and not self._micro:
            cut = self._shorter_chat(view, limit)
        else:
            cut = prompt._replace(ids=prompt.ids[-limit:])
        if cut.error:
            return cut
        notes = {**prompt.notes, TRUNCATED: length - len(cut.ids)}
        return cut._replace(notes=notes)

    def _shorter_chat(self, view: View, limit: int) -> Prompt:
        """Return the prompt of the newest messages that fit, the system's too if it is kept.

        Where not even the newest message fits, its beginning is left out.
        """
        messages = conversation(view)
        kept = [m for m in messages[:1] if m["role"] == "system"]
        system = kept if self._truncation == "keep_system" else []
        rest = messages[len(kept) :]
        for first in range(1, len(rest)):
            if rest[first]["role"] == "assistant":
                continue  # templates begin with a user
            prompt = self._of_messages([*system, *rest[first:]])
            if not prompt.error and len(prompt.ids) <= limit:
                return prompt
        last = rest[-1] if rest else {"role": "user", "content": ""}
        low, high, best = 0, len(last["content"]), None
        while low <= high:  # the most characters of it that fit
            middle = (low + high) // 2
            content = _LEFT_OUT + last["content"][len(last["content"]) - middle :]
            prompt = self._of_messages([*system, {**last, "content": content}])
            if not prompt.error and len(prompt.ids) <= limit:
                best, low = prompt, middle + 1
            else:
                high = middle - 1
        return best or Prompt(
            [],
            error=f"its system prompt alone exceeds the {limit} tokens that are left for a "
            "prompt; raise max_context, or set truncation='drop_oldest'",
        )

    def _of_messages(self, messages: Conversation) -> Prompt:
        return self._rendered([messages])[0]

    def _chat_texts(self, views: Sequence[View]) -> list[Prompt]:
        return self._rendered([conversation(view) for view in views])

    def _rendered(self, conversations: Sequence[Conversation]) -> list[Prompt]:
        """Return the prompt of each conversation, uncut."""
        if self.chat is None:  # microworld messages are the view's text, in pieces
            return self._micro_chat(conversations)
        cleaned, inert = [], []
        for messages in conversations:
            contents = [self._control.inert(message["content"]) for message in messages]
            inert.append(sum(count for _, count in contents))
            cleaned.append(
                [
                    {"role": message["role"], "content": content}
                    for message, (content, _) in zip(messages, contents, strict=True)
                ]
            )
        results = render_all(self.chat, cleaned)
        texts = [r[0] for r in results if not isinstance(r, TemplateFailed)]
        ids = iter(self._ids(texts, special=False))
        return [
            Prompt([], error=f"its chat template refuses the messages: {result}")
            if isinstance(result, TemplateFailed)
            else Prompt(
                next(ids),
                counted({INERT: count, FOLDED: int(result[1])}),
                thinking=self._ends_in_thought(result[0]),
            )
            for result, count in zip(results, inert, strict=True)
        ]

    def _micro_chat(self, conversations: Sequence[Conversation]) -> list[Prompt]:
        texts = [
            "".join(
                f" {m['content']}<|end|>" if m["role"] == "assistant" else m["content"]
                for m in messages
            )
            for messages in conversations
        ]
        return [Prompt(ids) for ids in self._ids(texts, special=False)]

    def _plain(self, views: Sequence[View]) -> list[Prompt]:
        """Return the prompt of each view's text, uncut."""
        if self._micro:
            return [
                Prompt(ids or self._start_ids) for ids in self._ids([v.text for v in views])
            ]
        texts = [self._guard(view.text).inert(view.text) for view in views]
        return [
            Prompt(ids or self._start_ids, counted({INERT: count}))
            for ids, (_, count) in zip(
                self._ids([text for text, _ in texts]), texts, strict=True
            )
        ]

    def _guard(self, text: str) -> ControlTokens:
        """Return what must be made inert: but for the renderer's own markers, if it has any."""
        marker = _SEAT_MARKER.search(text)
        return self._fenced if marker and marker[0] in self._added else self._control

    def _ids(self, texts: list[str], *, special: bool = True) -> list[list[int]]:
        if not texts:
            return []
        encoded = self._tokenizer(texts, verbose=False, add_special_tokens=special)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _ends_in_thought(self, text: str) -> bool:
        return text.rstrip().endswith(tuple(opening for opening, _ in self._marks))


def checked_words(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words to remove, checked.

    Raises:
        InvalidOption: one text instead of a list, or a word with white space or a marker.
    """
    if isinstance(words, str):
        raise InvalidOption(f"blind must be a list of words; did you mean [{words!r}]?")
    for word in words:
        if not isinstance(word, str) or not re.fullmatch(r"[^\s<>|]+", word):
            raise InvalidOption(f"blind hides whole words, and {word!r} is none")
    return tuple(words)


def without_words(view: View, words: tuple[str, ...]) -> View:
    """Return a view without these words in text and messages; its menu stays as it is."""
    messages = tuple(
        replace(m, content=remove_words(m.content, words)) for m in view.messages
    )
    return replace(view, text=remove_words(view.text, words), messages=messages)


def remove_words(text: str, words: tuple[str, ...]) -> str:
    """Return a text without these words and without the space before each."""
    return _pattern(words).sub("", text) if words else text


@lru_cache(maxsize=64)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    listed = "|".join(map(re.escape, words))
    return re.compile(rf"(?:^| )(?:{listed})(?![\w'-])", re.MULTILINE)
