"""Replies as PettingZoo action texts and back, and their repair before rules see them.

A reply that is only text *is* its action. One that carries more (a private thought, tool
calls, token ids) travels as an envelope: a marker and JSON.
"""

import json
from math import isfinite

import msgspec
from msgspec.structs import replace

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidUtterance
from superalign_env.plain_text import without_surrogates
from superalign_env.spaces import flaw
from superalign_env.types import Reply

MARKER = "\u241freply\u241f"
"""How an envelope begins. Not ASCII: most texts can be told apart at no cost."""


def encode(reply: Reply) -> str:
    """Return the action text of a reply; any reply, broken ones too."""
    if reply == Reply(reply.text) and not reply.text.startswith(MARKER):
        return reply.text
    try:
        return MARKER + to_json(reply).decode()
    except ValueError:
        # Lone surrogates and NaN travel escaped: whoever receives them shall judge.
        return MARKER + json.dumps(msgspec.to_builtins(reply))


def decode(action: str) -> Reply:
    """Return the reply that an action text stands for.

    Raises:
        InvalidUtterance: the text begins as an envelope and is none.
    """
    if not action.startswith(MARKER):
        return Reply(action)
    body = action[len(MARKER) :]
    try:
        if body.isascii() and ("\\ud" in body or "NaN" in body or "Infinity" in body):
            return msgspec.convert(json.loads(body), Reply)
        return from_json(body, Reply)
    except (ValueError, RecursionError) as error:
        raise InvalidUtterance(
            f"an action that begins with the reply marker must be replies.encode(reply): {error}"
        ) from error


def read_action(action: object, *, strict: bool) -> Reply:
    """Return the reply that an environment's action stands for.

    Args:
        action: whatever was passed to ``step``.
        strict: whether what is no text, or a broken envelope, is an error. Otherwise it
            is kept as it is: the Game repairs it, and its record says why.

    Raises:
        InvalidUtterance: only when strict.
    """
    # An envelope does not begin with an ASCII character.
    if type(action) is str and action.isascii():
        return Reply(action)
    if isinstance(action, str):
        text = str.__str__(action)
        try:
            return decode(text)
        except InvalidUtterance:
            if strict:
                raise
            return Reply(text)
    if strict:
        raise InvalidUtterance(
            f"an action must be a str, not {type(action).__name__} "
            "(None only after the end of the episode)"
        )
    return Reply(action)  # type: ignore[arg-type]  # deliberately not a text


def objection(text: object, limit: int) -> str:
    """Return the message about an invalid text; empty for a valid one."""
    reason = flaw(text, limit)
    if not reason:
        return ""
    return (
        f"the text {reason}; say any text without NUL and lone surrogates, "
        f"up to {limit} characters"
    )


def is_plain(reply: Reply, limit: int) -> bool:
    """Return whether a reply is taken as it is, without a closer look: most are.

    Args:
        reply: what an agent gave, without an error.
        limit: longest utterance, in characters.
    """
    text = reply.text
    return (
        type(text) is str
        and len(text) <= limit
        and text.isascii()
        and "\x00" not in text
        and not reply.thought
        and not reply.tool_calls
        and isfinite(sum(reply.logprobs))
    )


def admitted(reply: Reply, limit: int) -> tuple[Reply, str]:
    """Return the reply as rules and record take it, and why it was changed, if it was.

    Too long a text is cut, NUL and lone surrogates become U+FFFD, what is no text becomes
    an empty one; thoughts, tool calls and numbers that have no JSON form are dropped.

    Args:
        reply: what an agent gave.
        limit: longest utterance, in characters.
    """
    text = reply.text
    reason = flaw(text, limit)
    if reason:
        whole = str.__str__(text) if isinstance(text, str) else ""
        reply = replace(reply, text=without_surrogates(whole[:limit]))
    if not reply.thought and not reply.tool_calls and isfinite(sum(reply.logprobs)):
        return reply, reason
    try:
        to_json(reply)
    except (ValueError, TypeError):
        thought = reply.thought if isinstance(reply.thought, str) else ""
        return (
            Reply(reply.text, without_surrogates(thought), finish=reply.finish),
            reason or "carries what has no JSON form: surrogates, or numbers without end",
        )
    return reply, reason
