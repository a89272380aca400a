"""Instructions for chat models, one Markdown file per scenario and role."""

from functools import cache
from pathlib import Path

from msgspec.structs import replace

from superalign_env.canonical import text_hash
from superalign_env.plain_text import fence
from superalign_env.types import Brief, Message, Seat, Turn, role_of
from superalign_env.verdicts import SCHEMA
from superalign_scenarios.rendering import clip

_PROMPTS = Path(__file__).parent / "prompts"
_QUOTE_LIMIT = 6000
_HEADINGS = {
    "seed": "Seed request",
    "user": "User",
    "learner": "Assistant's answer",
    "critic": "A critic's verdict",
    "attacker": "Red-teamer",
}


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
    words = clip(fence(turn.text), _QUOTE_LIMIT)
    # Every line is quoted, so that no text can forge a heading.
    body = "\n".join(f"> {line}" for line in words.splitlines() or [""])
    return f"{heading}:\n{body}"


class EnglishRenderer:
    """Chat messages: a system prompt, quoted turns, own replies as the assistant."""

    json_verdicts = True

    @property
    def id(self) -> str:
        """Name, version and hash of the templates."""
        return f"english-1-{_templates_hash()[:8]}"

    def brief(
        self,
        scenario: str,
        seat: Seat,
        turns: tuple[Turn, ...],
        *,
        menu: tuple[str, ...] = (),
        max_new_tokens: int = 512,
    ) -> Brief:
        """Return the prompt of one seat; see `superalign_scenarios.rendering.Renderer`."""
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
            max_new_tokens=max(max_new_tokens, 512),
        )

    def continued(self, brief: Brief, seat: Seat, turns: tuple[Turn, ...]) -> Brief:
        """Return the prompt after a reply; see `superalign_scenarios.rendering.Renderer`."""
        messages = (*brief.messages, _reply(turns[0]), *_messages(seat, turns[1:]))
        return replace(
            brief, text=_text(messages), messages=messages, turns=brief.turns + turns
        )


def _messages(seat: Seat, turns: tuple[Turn, ...]) -> list[Message]:
    """Return turns as chat: what others said between two replies is one message."""
    messages: list[Message] = []
    pending: list[str] = []
    for turn in turns:
        if turn.author == seat:
            messages.append(Message("user", "\n\n".join(pending) or "Begin."))
            messages.append(_reply(turn))
            pending = []
        elif turn.author == "user" and role_of(seat) == "learner":
            # The one who is asked hears a person, not a quotation.
            pending.append(clip(fence(turn.text), _QUOTE_LIMIT))
        else:
            pending.append(_quote(turn))
    messages.append(Message("user", "\n\n".join(pending) or "Begin."))
    return messages


def _reply(turn: Turn) -> Message:
    return Message("assistant", clip(fence(turn.text), _QUOTE_LIMIT))


def _text(messages: tuple[Message, ...]) -> str:
    return "\n\n".join(f"{m.role}: {m.content}" for m in messages) + "\n\nassistant:"
