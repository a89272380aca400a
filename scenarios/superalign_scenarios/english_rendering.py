"""Renderer of chat English: a system prompt, quoted turns, own replies as the assistant.

Instructions are one Markdown file per scenario and role in ``prompts/``.
"""

import re
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from superalign_env.canonical import text_hash
from superalign_env.plain_text import fence
from superalign_env.types import Brief, Message, Seat, Turn, role_of
from superalign_env.verdicts import SCHEMA
from superalign_scenarios.rendering import MaxNewTokens, limit_of, truncated

_PROMPTS = Path(__file__).parent / "prompts"

_ENGLISH_QUOTE_LIMIT = 6000

_ENGLISH_NEW_TOKENS = 512

_LINE_END = re.compile(r"(\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")
_INDENTED = r"\1  "

_CLOSINGS = {
    "critic": "Your verdict, as one JSON object:",
    "attacker": "Your message to the assistant:",
}
"""Role → last line of what it reads: small models forget what the system message asks for."""

_HEADINGS = {
    "world": "You write",
    "seed": "Seed request",
    "user": "User",
    "learner": "Assistant's answer",
    "critic": "A critic's verdict",
    "attacker": "Red-teamer",
}


class EnglishRenderer:
    """Chat messages: a system prompt, quoted turns, own replies as the assistant.

    Args:
        max_new_tokens: longest reply, in tokens, of everybody or by role; else 512.
    """

    json_verdicts = True

    def __init__(self, max_new_tokens: MaxNewTokens = None) -> None:
        self._max_new_tokens = max_new_tokens

    @property
    def id(self) -> str:
        """Name, version and hash of the templates."""
        return f"english-3-{_templates_hash()[:8]}"

    def brief(
        self,
        scenario: str,
        seat: Seat,
        turns: tuple[Turn, ...],
        *,
        menu: tuple[str, ...] = (),
        max_new_tokens: int | None = None,
    ) -> Brief:
        """Return the prompt of one seat; see `Renderer`."""
        role = role_of(seat)
        system = Message("system", instructions(scenario.rpartition("-v")[0], role))
        messages = (system, *_messages(seat, turns))
        verdict = role == "critic"
        return Brief(
            _text(messages),
            messages,
            turns,
            form="json-schema" if verdict else "free",
            schema=SCHEMA if verdict else None,
            menu=menu,
            max_new_tokens=max_new_tokens
            or limit_of(seat, self._max_new_tokens, _ENGLISH_NEW_TOKENS),
        )

    def continued(self, brief: Brief, seat: Seat, turns: tuple[Turn, ...]) -> Brief:
        """Return the prompt after a reply; see `Renderer`."""
        messages = (*brief.messages, _reply(turns[0]), *_messages(seat, turns[1:]))
        return replace(
            brief, text=_text(messages), messages=messages, turns=brief.turns + turns
        )


@cache
def instructions(scenario: str, role: str) -> str:
    """Return the system prompt of a role in a scenario (without version)."""
    for name in (f"{scenario}/{role}.md", f"{role}.md", "anyone.md"):
        path = _PROMPTS / name
        if path.exists():
            return path.read_text(encoding="utf-8").strip()
    raise FileNotFoundError(_PROMPTS / "anyone.md")  # ships with the package


@cache
def _templates_hash() -> str:
    files = sorted(_PROMPTS.rglob("*.md"))
    return text_hash("\0".join(path.read_text(encoding="utf-8") for path in files))


def _quote(turn: Turn) -> str:
    role = role_of(turn.author)
    heading = _HEADINGS.get(role, role.capitalize())
    words = truncated(fence(turn.text), _ENGLISH_QUOTE_LIMIT)
    # Every line is quoted, so that no text can forge a heading.
    body = "\n".join(f"> {line}" for line in words.splitlines() or [""])
    return f"{heading}:\n{body}"


def _messages(seat: Seat, turns: tuple[Turn, ...]) -> list[Message]:
    """Return turns as chat: what others said between two replies is one message."""
    messages: list[Message] = []
    pending: list[str] = []
    for turn in turns:
        if turn.author == seat:
            messages.append(_asking(seat, pending))
            messages.append(_reply(turn))
            pending = []
        elif turn.author == "user" and role_of(seat) == "learner":
            # A learner is asked by a person and reads no quotation.
            pending.append(truncated(fence(turn.text), _ENGLISH_QUOTE_LIMIT))
        else:
            pending.append(_quote(turn))
    messages.append(_asking(seat, pending))
    return messages


def _asking(seat: Seat, said: list[str]) -> Message:
    closing = _CLOSINGS.get(role_of(seat))
    parts = [*said, closing] if said and closing else said
    return Message("user", "\n\n".join(parts) or "Begin.")


def _reply(turn: Turn) -> Message:
    return Message("assistant", truncated(fence(turn.text), _ENGLISH_QUOTE_LIMIT))


def _text(messages: tuple[Message, ...]) -> str:
    """Return messages as one text, in which only headings begin a line at its margin."""
    parts = [f"{m.role}: {_LINE_END.sub(_INDENTED, m.content)}" for m in messages]
    return "\n\n".join(parts) + "\n\nassistant:"
