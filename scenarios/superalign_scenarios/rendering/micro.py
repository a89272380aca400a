"""Role markers and words, exactly as the tiny models were pre-trained.

``<|user|> ann will …<|end|><|learner|>``: the prompt ends with the marker of the seat
that shall speak, as pre-training text does (feasibility study: nothing matters more).
"""

from functools import lru_cache

from superalign_env.canonical import text_hash
from superalign_env.plain_text import fence
from superalign_env.types import Brief, Message, Seat, Turn, role_of
from superalign_scenarios.rendering import clip

MARKED_ROLES = (
    "system",
    "seed",
    "user",
    "attacker",
    "learner",
    "critic",
    "judge",
    "debater",
    "supervisor",
    "human",
    "tool",
    "world",
)
END = "<|end|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}<|end|>"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
)
"""Makes the text of a brief from its messages."""

_QUOTE_LIMIT = 2000


@lru_cache(maxsize=256)
def marker_of(author: Seat) -> str:
    """Return the one-token marker of an author's role; unknown roles speak as users."""
    role = role_of(author)
    return f"<|{role if role in MARKED_ROLES else 'user'}|>"


def _fenced(text: str) -> str:
    return clip(fence(text), _QUOTE_LIMIT)


@lru_cache(maxsize=1024)
def _words(text: str) -> str:
    """Return an author's text as a prompt may hold it."""
    return _fenced(text)


@lru_cache(maxsize=1024)
def _quoted(author: Seat, text: str) -> str:
    """Return what somebody else said; a turn is shown to several seats, several times."""
    return f"{marker_of(author)} {_fenced(text)}{END}"


class MicroRenderer:
    """The micro language."""

    id = f"micro-1-{text_hash(CHAT_TEMPLATE)[:8]}"
    json_verdicts = False

    def brief(
        self,
        scenario: str,
        seat: Seat,
        turns: tuple[Turn, ...],
        *,
        menu: tuple[str, ...] = (),
        max_new_tokens: int = 40,
    ) -> Brief:
        """Return the prompt of one seat; see `superalign_scenarios.rendering.Renderer`."""
        own = marker_of(seat)
        pending = text = ""
        messages: list[Message] = []
        for turn in turns:
            if turn.author == seat:
                words = _words(turn.text)
                pending += own
                messages.append(Message("user", pending))
                messages.append(Message("assistant", words))
                text += f"{pending} {words}{END}"
                pending = ""
            else:
                pending += _quoted(turn.author, turn.text)
        pending += own
        messages.append(Message("user", pending))
        return Brief(
            text + pending,
            tuple(messages),
            turns,
            menu=menu,
            max_new_tokens=max_new_tokens,
        )

    def continued(self, brief: Brief, seat: Seat, turns: tuple[Turn, ...]) -> Brief:
        """Return the prompt after a reply; see `superalign_scenarios.rendering.Renderer`."""
        words = _words(turns[0].text)
        prompt = ""
        for turn in turns[1:]:
            prompt += _quoted(turn.author, turn.text)
        prompt += marker_of(seat)
        return Brief(
            f"{brief.text} {words}{END}{prompt}",
            (*brief.messages, Message("assistant", words), Message("user", prompt)),
            brief.turns + turns,
            (),
            "free",
            None,
            brief.menu,
            brief.max_new_tokens,
        )
