"""Plain JSON values of others: tool calls within limits, read-only copies for views."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any, NoReturn

from superalign_env.errors import ProtocolError
from superalign_env.plain_text import without_surrogates
from superalign_env.types import ToolCall

MAX_DEPTH = 32
"""Levels of lists and objects in a call's arguments; a deeper call is dropped."""

MAX_VALUES = 10_000
"""Values in a call's arguments; a larger call is dropped."""

MAX_CHARACTERS = 1 << 20
"""Characters in a call's arguments, of keys and texts; a larger call is dropped."""

MAX_CALLS = 64
"""Tool calls of one reply; further ones are dropped."""

MAX_NOTES = 64
"""Notes of one reply; with more the episode fails."""

# Each becomes an event: none may pass for an event of the rules or of the game.
_NOTE = re.compile(r"(?:prompt|reply|search|strategy)\.[a-z0-9.-]+")

MAX_NAME = 256
"""Characters of names: of a tool and of a call (else the call is dropped), of a policy (else
the episode fails)."""

LARGEST_WHOLE = (1 << 63) - 1
"""Whole numbers of a record have 64 bits and a sign."""


class PlainCopy:
    """Bounded copy of plain JSON values, and what is too much in them.

    The copy goes one step beyond each limit, so that a copy of it has the same faults: a
    reply is copied before it travels as an action, and judged where it arrives.
    """

    def __init__(self) -> None:
        self.fault = ""
        """The first limit that was broken, in words; empty for none."""
        self._values = self._characters = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return the copy.

        Raises:
            ProtocolError: something is no plain JSON value.
        """
        self._values += 1
        if self._values > MAX_VALUES:
            self.fault = self.fault or f"have more than {MAX_VALUES} values"
            return None
        if value is None or isinstance(value, (bool, str, int, float)):
            return self._scalar(value)
        if not isinstance(value, (dict, list, tuple)):
            raise ProtocolError(
                f"the arguments of a tool call hold a {type(value).__name__}; give plain "
                "JSON values"
            )
        if depth > MAX_DEPTH:
            self.fault = self.fault or f"are nested deeper than {MAX_DEPTH} levels"
            return {} if isinstance(value, dict) else []
        if isinstance(value, dict):
            return self._dict(value, depth)
        return [self.of(one, depth + 1) for one in islice(value, self._room())]

    def _dict(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copy = {}
        for key, one in islice(value.items(), self._room()):
            if not isinstance(key, str):
                raise ProtocolError(
                    f"the arguments of a tool call have a {type(key).__name__} as a key; "
                    "keys are texts"
                )
            copy[self._text(key)] = self.of(one, depth + 1)
        return copy

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            return value
        return self._whole(value) if isinstance(value, int) else self._number(value)

    def _room(self) -> int:
        return max(0, MAX_VALUES - self._values) + 1

    def _text(self, value: str) -> str:
        text = str.__str__(value)
        room = max(0, MAX_CHARACTERS - self._characters) + 1
        self._characters += len(text)
        if self._characters > MAX_CHARACTERS:
            self.fault = self.fault or f"have more than {MAX_CHARACTERS} characters"
        return text[:room]

    def _number(self, value: float) -> float:
        if not isfinite(value):
            self.fault = self.fault or "hold a number that is not finite"
        return float(value)

    def _whole(self, value: int) -> int:
        if -LARGEST_WHOLE - 1 <= value <= LARGEST_WHOLE:
            return int(value)
        self.fault = self.fault or "hold a whole number beyond 64 bits"
        return LARGEST_WHOLE + 1


def proper_calls(values: Sequence[object]) -> tuple[ToolCall, ...]:
    """Return calls whose arguments are plain values; what is too much of it stays too much.

    Raises:
        ProtocolError: something is no tool call, or no plain value.
    """
    calls = []
    for call in values:
        if not isinstance(call, ToolCall):
            raise ProtocolError(
                f"the reply's tool_calls hold a {type(call).__name__}, not a ToolCall"
            )
        if not isinstance(call.arguments, dict):
            raise ProtocolError(
                f"the arguments of a tool call are a {type(call.arguments).__name__}, not a "
                "dict"
            )
        arguments = PlainCopy().of(call.arguments)
        name, made = _name(call.name), _name(call.id)
        calls.append(ToolCall(name, arguments, made))
    return tuple(calls)


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ProtocolError(
            f"name and id of a tool call are texts, not a {type(value).__name__}"
        )
    return str.__str__(value)


def proper_notes(value: object) -> dict[str, int]:
    """Return a copy of the notes of a reply.

    Raises:
        ProtocolError: they are no whole numbers by name, or too many.
    """
    notes = dict(value) if isinstance(value, dict) else {"": 0}
    if len(notes) > MAX_NOTES:
        raise ProtocolError(f"the reply has more than {MAX_NOTES} notes")
    for kind, count in notes.items():
        proper = type(kind) is str and len(kind) <= MAX_NAME and _NOTE.fullmatch(kind)
        if not proper or type(count) is not int or abs(count) > LARGEST_WHOLE:
            raise ProtocolError(
                "the reply's notes must be whole numbers by name, such as prompt.truncated"
            )
    return notes


def calls_within_limits(
    calls: Sequence[ToolCall], reasons: list[str]
) -> tuple[ToolCall, ...]:
    """Return the calls that the record can hold, and add why others were dropped."""
    kept = []
    for call in calls[:MAX_CALLS]:
        plain = PlainCopy()
        arguments = plain.of(call.arguments)
        if plain.fault:
            reasons.append(f"a tool call was dropped: its arguments {plain.fault}")
        elif len(call.name) > MAX_NAME or len(call.id) > MAX_NAME:
            reasons.append(
                f"a tool call was dropped: its name has more than {MAX_NAME} characters"
            )
        else:
            clean = ToolCall(
                encodable(call.name), _all_encodable(arguments), encodable(call.id)
            )
            if clean != call:
                reasons.append("a tool call contains a lone surrogate")
            kept.append(clean)
    if len(calls) > MAX_CALLS:
        reasons.append(f"more than {MAX_CALLS} tool calls")
    return tuple(kept)


def encodable(text: str) -> str:
    """Return a text that UTF-8 can write; one that it can write already stays as it is."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return without_surrogates(text)
    return text


def _all_encodable(value: Any) -> Any:
    """Return plain values whose texts and keys UTF-8 can write."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(key): _all_encodable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_all_encodable(one) for one in value]
    return value


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise TypeError(
        "what a view shows is shared by everybody who sees it; change a copy: "
        "copy.deepcopy(view.schema)"
    )


class ReadOnlyDict(dict[str, Any]):
    """A dict that cannot be changed; `copy.deepcopy` gives one that can."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        """Return a plain dict."""
        plain: dict[str, Any] = writable(self)
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        return read_only, (writable(self),)


class ReadOnlyList(list[Any]):
    """A list that cannot be changed; `copy.deepcopy` gives one that can."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = _refuse
    remove = reverse = sort = _refuse

    def __deepcopy__(self, memo: object) -> list[Any]:
        """Return a plain list."""
        plain: list[Any] = writable(self)
        return plain

    def __reduce__(self) -> tuple[Any, ...]:
        return read_only, (writable(self),)


def read_only(value: Any) -> Any:
    """Return plain values whose dicts and lists cannot be changed, deeply; equal as JSON."""
    if isinstance(value, (ReadOnlyDict, ReadOnlyList)):
        return value
    if isinstance(value, dict):
        return ReadOnlyDict({key: read_only(one) for key, one in value.items()})
    if isinstance(value, (list, tuple)):
        return ReadOnlyList([read_only(one) for one in value])
    return value


def writable(value: Any) -> Any:
    """Return plain values in plain dicts and lists: an own copy."""
    if isinstance(value, dict):
        return {key: writable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [writable(one) for one in value]
    return value
