"""A tokenizer's chat template: rendered under limits, and what it says about itself.

How a template ends a turn, whether it knows a system role, and what it writes between
messages are found by rendering it once with known words.
"""

import atexit
import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedTokenizerBase

from superalign_agents.chat_messages import Conversation, folded
from superalign_env.errors import InvalidOption
from superalign_env.plain_text import one_line
from superalign_env.plain_values import encodable

CPU_SECONDS = 5.0
"""Longest rendering of one conversation; usual ones take a thousandth of a second."""

MEMORY_BYTES = 2**30
MAX_CHARACTERS = 2**22
"""Limits of the process that renders, and of one text."""

_WALL_SECONDS = 120.0
"""Where no clock counts CPU time, and on a very busy machine."""

_MAX_STOPS = 3
"""After so many renderings without end a template is not tried again."""

_SYSTEM, _USER, _REPLY, _AGAIN = "Zqinstruct", "Zqquestion", "Zqanswer", "Zqfurther"


_MARKUP = re.compile(r"<+[^\s<>]+>+|\[+[^\s\[\]]+\]+|\{+[^\s{}]+\}+")
_HEADING = re.compile(r"(?:#+ *)?[A-Z][\w-]*(?: [\w-]+){0,3}:(?=\s*$)", re.MULTILINE)
"""How templates mark turns without a token: ``[/INST]``, ``### Response:``, ``USER:``."""


class TemplateFailed(ValueError):
    """A conversation that a template cannot render, and why."""


class TemplateStopped(TemplateFailed):
    """A rendering that exceeded its limits."""


def render_template(
    source: str,
    messages: Conversation,
    *,
    variables: Mapping[str, str] = MappingProxyType({}),
    generation: bool = True,
) -> str:
    """Return the text that a template, which is a stranger's code, makes of messages.

    Args:
        source: the template.
        messages: of the roles that it knows.
        variables: special tokens by name, ``bos_token``.
        generation: whether the text ends where the assistant shall speak.

    Raises:
        TemplateFailed: the template refuses the messages, or exceeds a limit.
    """
    answer = _ask(
        {
            "template": source,
            "variables": dict(variables),
            "messages": messages,
            "generation": generation,
        }
    )
    if answer is None:
        raise TemplateStopped(
            f"it takes more than {CPU_SECONDS:g} s or {MEMORY_BYTES >> 20} MiB"
        )
    if "error" in answer:
        raise TemplateFailed(f"it says {one_line(answer['error'], 200)!r}")
    text = str(answer["text"])
    if encodable(text) != text:
        raise TemplateFailed("it writes lone surrogates")
    return text


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: has a template.
        name: of the model, in messages.

    Raises:
        InvalidOption: the template cannot render even one user message.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
        self._tokenizer = tokenizer
        self._name = name
        self._source = str(tokenizer.get_chat_template())
        self._variables = {k: str(v) for k, v in tokenizer.special_tokens_map.items()}
        self._stops = 0
        user = {"role": "user", "content": _USER}
        try:
            self._plain = self.render([user])
        except TemplateFailed as error:
            raise InvalidOption(
                f"the chat template of {name} cannot be used: {error}; take "
                "template='plain', or repair tokenizer.chat_template"
            ) from error
        self.folds = _SYSTEM not in self._or_nothing(
            [{"role": "system", "content": _SYSTEM}, user]
        )
        """Whether it refuses or drops a system message."""

    def render(self, messages: Conversation, *, generation: bool = True) -> str:
        """Return the text of a conversation.

        Args:
            messages: of the roles that the template knows.
            generation: whether the text ends where the assistant shall speak.

        Raises:
            TemplateFailed: the template refuses the messages, or exceeds a limit.
        """
        if self._stops >= _MAX_STOPS:
            raise TemplateFailed("the chat template exceeded its limits too often")
        try:
            return render_template(
                self._source, messages, variables=self._variables, generation=generation
            )
        except TemplateStopped:
            self._stops += 1
            raise

    @cached_property
    def turn_end(self) -> int | None:
        """The control token with which the template ends an assistant's turn."""
        said = self._or_nothing(self._exchange[:2], generation=False)
        return self._first_control(said.partition(_REPLY)[2])

    @cached_property
    def stop_ids(self) -> set[int]:
        """Tokens after which the assistant's turn is over: its end, and what may follow."""
        following = self._conversation.partition(_REPLY)[2].partition(_AGAIN)[0]
        ends = (self.turn_end, self._first_control(following))
        return {end for end in ends if end is not None}

    @cached_property
    def markers(self) -> list[str]:
        """Texts by which the template marks turns, tokens or not."""
        pieces = [self._conversation]
        for word in (_SYSTEM, _USER, _REPLY, _AGAIN):
            pieces = [part for piece in pieces for part in piece.split(word)]
        return [
            m for part in pieces for m in (*_MARKUP.findall(part), *_HEADING.findall(part))
        ]

    @property
    def _exchange(self) -> Conversation:
        return [
            {"role": "user", "content": _USER},
            {"role": "assistant", "content": _REPLY},
            {"role": "user", "content": _AGAIN},
        ]

    @cached_property
    def _conversation(self) -> str:
        system = [] if self.folds else [{"role": "system", "content": _SYSTEM}]
        whole = self._or_nothing([*system, *self._exchange])
        return whole or self._or_nothing(self._exchange) or self._plain

    def _or_nothing(self, messages: Conversation, *, generation: bool = True) -> str:
        try:
            return self.render(messages, generation=generation)
        except TemplateFailed:
            return ""

    def _first_control(self, text: str) -> int | None:
        """Return the first added token of a text."""
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        added = self._tokenizer.added_tokens_decoder
        return next((int(i) for i in ids if i in added and added[i].content.strip()), None)


def render_all(
    template: ChatTemplate, conversations: Sequence[Conversation]
) -> list[tuple[str, bool] | TemplateFailed]:
    """Return text and whether messages were folded, or the failure, of each conversation.

    What a template refuses is folded (`chat_messages.folded`) and tried once more.
    """
    results: list[tuple[str, bool] | TemplateFailed] = []
    for messages in conversations:
        simple = folded(messages)
        tries = [simple] if template.folds or simple == messages else [messages, simple]
        result: tuple[str, bool] | TemplateFailed = TemplateFailed("no messages")
        for one in tries:
            try:
                result = template.render(one), one != messages
                break
            except TemplateFailed as error:
                result = error
        results.append(result)
    return results


class _Renderer:
    """The process that renders for this one."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("template_worker.py")
        limits = (CPU_SECONDS, MEMORY_BYTES, MAX_CHARACTERS)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), *map(str, limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        atexit.register(self.close)

    @property
    def runs(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, request: dict[str, Any]) -> dict[str, str] | None:
        """Return the answer to a request; None where the process ended over it."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        line = b""
        with suppress(OSError):
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            if select.select([process.stdout], [], [], _WALL_SECONDS)[0]:
                line = process.stdout.readline()
        if not line:
            self.close()
            return None
        answer: dict[str, str] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        atexit.unregister(self.close)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent is lost with it
                if stream is not None:
                    stream.close()


_renderers: dict[int, _Renderer] = {}
"""Process id → its renderer: a forked process must not share one."""

_lock = threading.Lock()


def _unlock() -> None:
    """Give a forked process a lock that nobody holds."""
    global _lock  # noqa: PLW0603 (a lock of another process can only be replaced)
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _ask(request: dict[str, Any]) -> dict[str, str] | None:
    """Ask the renderer of this process, started where there is none."""
    with _lock:
        renderer = _renderers.get(os.getpid())
        if renderer is None or not renderer.runs:
            renderer = _Renderer()
            _renderers[os.getpid()] = renderer
        return renderer.ask(request)


def end_renderer() -> None:
    """End the process that renders for this one; the next rendering starts another."""
    with _lock:
        renderer = _renderers.pop(os.getpid(), None)
        if renderer is not None:
            renderer.close()
