"""Chat messages of a view: control text made inert, system text folded, thoughts apart.

Used for local models and for servers alike; `control_tokens` knows what a tokenizer reads
as control tokens, `chat_template` what a template writes.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from superalign_env.errors import InvalidOption
from superalign_env.types import View

ThoughtMarks = Sequence[Sequence[str]]
"""Pairs of texts between which a model thinks."""

THINK: tuple[tuple[str, str], ...] = (("<think>", "</think>"),)
"""Marks that most models which think write."""

KNOWN_CONTROL = (
    *("<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]"),
    *("[/SYSTEM_PROMPT]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[THINK]", "[/THINK]"),
    *("<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>"),
    *("</tool_response>", "<|", "<｜"),
)
"""Control tokens of published models: what is made inert where the tokenizer is unknown."""

Conversation = list[dict[str, str]]

_LOOK_ALIKE = {"<": "‹", "[": "⟦", "{": "❴"}
"""First characters and what stands for them; no Unicode normal form undoes it."""

_PROMPTS = Path(__file__).parent / "prompts"


class ControlText:
    """Texts that a model reads as control tokens, and their inert look-alikes.

    Args:
        tokens: what must not be forged.
        ignore_case: whether the tokenizer does.
    """

    def __init__(self, tokens: Iterable[str], *, ignore_case: bool = False) -> None:
        longest_first = sorted({t for t in tokens if t.strip()}, key=lambda t: (-len(t), t))
        listed = "|".join(map(re.escape, longest_first))
        flags = re.IGNORECASE if ignore_case else 0
        self._pattern = re.compile(listed, flags) if listed else None

    def found_in(self, text: str) -> bool:
        """Whether a text holds one."""
        return self._pattern is not None and self._pattern.search(text) is not None

    def inert(self, text: str) -> tuple[str, int]:
        """Return a text without any of them, and how many there were."""
        total = 0
        while self._pattern is not None:
            text, count = self._pattern.subn(_look_alike, text)
            total += count
            if not count:
                break
        return text, total


def _look_alike(match: re.Match[str]) -> str:
    token = match[0]
    if token[0] in _LOOK_ALIKE:
        return _LOOK_ALIKE[token[0]] + token[1:]
    return f"{token[0]}·{token[1:]}" if len(token) > 1 else "·"


KNOWN = ControlText(KNOWN_CONTROL, ignore_case=True)


def conversation(view: View) -> Conversation:
    """Return the messages of a view as plain mappings; its text where it has none."""
    if not view.messages:
        return [{"role": "user", "content": view.text}]
    return [{"role": m.role, "content": m.content} for m in view.messages]


def folded(messages: Conversation) -> Conversation:
    """Return messages as the strictest templates take them: users and assistants in turn.

    System text joins the first user message, results of tools become users' messages, and
    neighbours of one role become one message. It begins with a user.
    """
    result: Conversation = []
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "tool":
            content = prompt("tool_result").replace("{result}", content)
        role = "assistant" if role == "assistant" else "user"
        if result and result[-1]["role"] == role:
            content = f"{result.pop()['content']}\n\n{content}"
        elif not result and role == "assistant":
            result.append({"role": "user", "content": "Begin."})
        result.append({"role": role, "content": content})
    return result


def has_system(messages: Conversation) -> bool:
    """Whether there is text to fold: of the system or of a tool."""
    return any(message["role"] in ("system", "tool") for message in messages)


@cache
def prompt(name: str) -> str:
    """Return one of the texts of the folder ``prompts``."""
    return (_PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()


class Spoken(NamedTuple):
    """Text and thought of what a model wrote, taken apart."""

    text: str
    """The utterance."""
    thought: str
    """Private; empty where the model did not think aloud."""


def checked_marks(marks: ThoughtMarks) -> tuple[tuple[str, str], ...]:
    """Return pairs of marks, checked.

    Raises:
        InvalidOption: something else than pairs of two different texts.
    """
    pairs = [tuple(pair) if not isinstance(pair, str) else () for pair in marks]
    for pair in pairs:
        if len(pair) != 2 or not all(isinstance(m, str) and m.strip() for m in pair):
            raise InvalidOption(
                f"thought_marks must be pairs of texts such as {[list(p) for p in THINK]}, "
                f"not {marks!r}"
            )
        if pair[0] == pair[1]:
            raise InvalidOption(f"thought_marks open and close with the same {pair[0]!r}")
    return tuple((str(opening), str(closing)) for opening, closing in pairs)


def split_thoughts(
    text: str, marks: tuple[tuple[str, str], ...], *, opened: bool = False
) -> Spoken:
    """Separate what a model thought from what it says.

    A thought without an end reaches to the end of the text; one without a beginning began
    in the prompt, as many templates have it.

    Args:
        text: as the model wrote it.
        marks: pairs between which it thinks.
        opened: whether the prompt ended with an opening mark.
    """
    if not marks:
        return Spoken(text, "")
    pattern = _marks_pattern(marks)
    if not opened and pattern.search(text) is None:
        return Spoken(text, "")
    depth = 1 if opened else 0
    said: list[str] = []
    thought: deque[str] = deque()
    place = 0
    for match in pattern.finditer(text):
        part = text[place : match.start()]
        (thought if depth else said).append(part)
        if match.lastgroup == "open":
            depth += 1
        elif depth:
            depth -= 1
        else:  # it began in the prompt
            thought.extendleft(reversed(said))
            said.clear()
        place = match.end()
    (thought if depth else said).append(text[place:])
    thoughts = [part.strip() for part in thought if part.strip()]
    return Spoken("".join(said).strip(), "\n".join(thoughts))


@lru_cache(maxsize=64)
def _marks_pattern(marks: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    opening, closing = ("|".join(re.escape(pair[n]) for pair in marks) for n in (0, 1))
    return re.compile(f"(?P<open>{opening})|(?P<close>{closing})", re.IGNORECASE)


def decoded_texts(
    tokenizer: Any, rows: Sequence[Sequence[int]], marks: ThoughtMarks
) -> list[str]:
    """Return rows of tokens as texts, without special tokens but with marks of thoughts.

    Args:
        tokenizer: of the model.
        rows: without the tokens that end them.
        marks: pairs between which the model thinks; they may be tokens, special or not.
    """
    added = tokenizer.get_added_vocab()
    tokens = {int(added[mark]): mark for mark in marks_of(marks) if mark in added}
    texts: list[str] = tokenizer.batch_decode(rows, skip_special_tokens=True)
    for place, row in enumerate(rows):
        if tokens and not tokens.keys().isdisjoint(row):
            texts[place] = _with_marks(tokenizer, row, tokens)
    return texts


def _with_marks(tokenizer: Any, row: Sequence[int], marks: Mapping[int, str]) -> str:
    pieces, start = [], 0
    for place, token in enumerate([*row, -1]):
        if token in marks or token == -1:
            part = list(row[start:place])
            pieces.append(str(tokenizer.decode(part, skip_special_tokens=True)))
            pieces.append(marks.get(token, ""))
            start = place + 1
    return "".join(pieces)


def marks_of(marks: Iterable[Sequence[str]]) -> list[str]:
    """Return all marks, opening and closing."""
    return [mark for pair in marks for mark in pair]


def counted(notes: Mapping[str, int]) -> dict[str, int]:
    """Return the notes of a reply that say something."""
    return {kind: count for kind, count in notes.items() if count}
