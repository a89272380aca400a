"""Renderers: a scenario's turns as a prompt, in microworld words or in chat English.

A scenario says *what* a seat is told, as turns; a renderer says it in a language. It
fences every author's text and owns the context budget. `MicroRenderer` writes role markers
and words exactly as the tiny models were pre-trained: ``<|user|> ann will …<|end|><|learner|>``
ends with the marker of the seat that shall speak, as pre-training text does (feasibility
study: nothing matters more). `english_rendering` writes instructions for chat models.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

from superalign_env import registry
from superalign_env.canonical import text_hash
from superalign_env.errors import InvalidOption
from superalign_env.plain_text import fence
from superalign_env.types import Brief, Message, Role, Seat, Turn, role_of


class Renderer(Protocol):
    """Interface of a renderer: turns → the prompt of one seat."""

    @property
    def id(self) -> str:
        """Name, version and hash of the templates."""
        ...

    @property
    def json_verdicts(self) -> bool:
        """Whether critics are asked for the JSON form of a verdict."""
        ...

    def brief(
        self,
        scenario: str,
        seat: Seat,
        turns: tuple[Turn, ...],
        *,
        menu: tuple[str, ...] = (),
        max_new_tokens: int | None = None,
    ) -> Brief:
        """Return the brief of a seat; earlier turns of its own become its replies."""
        ...

    def continued(self, brief: Brief, seat: Seat, turns: tuple[Turn, ...]) -> Brief:
        """Return the next brief of a seat: equal to `brief` of all turns, but cheaper.

        Args:
            brief: of its last turn.
            seat: whose brief it is.
            turns: its reply, and what others said since.
        """
        ...


MaxNewTokens = int | Mapping[Role, int] | None
"""Longest reply, in tokens: of everybody, by role, or (None) as the renderer has it."""


def make_renderer(name: str, max_new_tokens: MaxNewTokens = None) -> Renderer:
    """Return a renderer by id.

    Args:
        name: its id.
        max_new_tokens: longest reply instead of the renderer's own limit.

    Raises:
        UnknownId: with the nearest ids.
        InvalidOption: not a name, or a limit that is none.
    """
    if not isinstance(name, str):
        raise InvalidOption(
            f"renderer must be an id such as 'micro' or 'english', not {name!r}"
        )
    _check_limit(max_new_tokens)
    limit = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    made: Any = registry.make("renderer", name, **limit)
    renderer: Renderer = made
    return renderer


def _check_limit(limit: object) -> None:
    limits = limit.values() if isinstance(limit, Mapping) else (limit,)
    for number in limits:
        if number is not None and (type(number) is not int or number < 1):
            raise InvalidOption(
                "max_new_tokens is a whole number ≥ 1, or one for each role as in "
                f"{{learner: 256, critic: 128}}; not {limit!r}"
            )


def limit_of(seat: Seat, limit: MaxNewTokens, usual: int) -> int:
    """Return the longest reply of a seat, in tokens."""
    if isinstance(limit, Mapping):
        return limit.get(role_of(seat), usual)
    return usual if limit is None else limit


def truncated(text: str, limit: int) -> str:
    """Keep the beginning and the end of a long text and say how much is left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} […{len(text) - 2 * half} characters left out…] {text[-half:]}"


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

_MICRO_QUOTE_LIMIT = 2000

_MICRO_NEW_TOKENS = 40


class MicroRenderer:
    """Role markers and words of the micro language.

    Args:
        max_new_tokens: longest reply, in tokens, of everybody or by role; else 40.
    """

    id = f"micro-1-{text_hash(CHAT_TEMPLATE)[:8]}"
    json_verdicts = False

    def __init__(self, max_new_tokens: MaxNewTokens = None) -> None:
        self._max_new_tokens = max_new_tokens

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
        marker = marker_of(seat)
        pending = text = ""
        messages: list[Message] = []
        for turn in turns:
            if turn.author == seat:
                words = _words(turn.text)
                pending += marker
                messages.append(Message("user", pending))
                messages.append(Message("assistant", words))
                text += f"{pending} {words}{END}"
                pending = ""
            else:
                pending += _quoted(turn.author, turn.text)
        pending += marker
        messages.append(Message("user", pending))
        return Brief(
            text + pending,
            tuple(messages),
            turns,
            menu=menu,
            max_new_tokens=max_new_tokens
            or limit_of(seat, self._max_new_tokens, _MICRO_NEW_TOKENS),
        )

    def continued(self, brief: Brief, seat: Seat, turns: tuple[Turn, ...]) -> Brief:
        """Return the prompt after a reply; see `Renderer`."""
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


@lru_cache(maxsize=256)
def marker_of(author: Seat) -> str:
    """Return the one-token marker of an author's role; unknown roles speak as users."""
    role = role_of(author)
    return f"<|{role if role in MARKED_ROLES else 'user'}|>"


def _fenced(text: str) -> str:
    return truncated(fence(text), _MICRO_QUOTE_LIMIT)


@lru_cache(maxsize=1024)
def _words(text: str) -> str:
    """Return an author's text as a prompt may hold it."""
    return _fenced(text)


@lru_cache(maxsize=1024)
def _quoted(author: Seat, text: str) -> str:
    """Return another author's turn; it is shown to several seats, several times."""
    return f"{marker_of(author)} {_fenced(text)}{END}"
