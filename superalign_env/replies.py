"""Replies as PettingZoo action texts and back.

A reply that is only text *is* its action. One that carries more (a private thought, tool
calls, token ids) travels as an envelope: a marker and JSON.
"""

import json
from contextlib import suppress

import msgspec

from superalign_env.admission import MAX_ENVELOPE, is_plain, typed
from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidUtterance
from superalign_env.types import Reply

MARKER = "\u241freply\u241f"
"""How an envelope begins. Not ASCII: most texts can be told apart at no cost."""


def encode(reply: Reply) -> str:
    """Return the action text of a reply; of one that cannot travel, that of a failed reply."""
    if is_plain(reply, MAX_ENVELOPE):
        if reply == Reply(reply.text) and not reply.text.startswith(MARKER):
            return reply.text
        with suppress(TypeError):  # numbers of numpy and the like
            return MARKER + to_json(reply).decode()
    try:
        action = _action(reply)
        if decode(action) == reply:
            return action
    except Exception:  # whatever odd objects raise; `typed` says what is wrong
        pass
    return _action(typed(reply))


def _action(reply: Reply) -> str:
    if reply == Reply(reply.text) and not reply.text.startswith(MARKER):
        return reply.text
    try:
        return MARKER + to_json(reply).decode()
    except ValueError:
        # Lone surrogates and NaN travel as they are: whoever receives them shall judge.
        # Escaped, two surrogates would come back as the character that they spell.
        return MARKER + json.dumps(msgspec.to_builtins(reply), ensure_ascii=False)


def decode(action: str) -> Reply:
    """Return the reply that an action text stands for.

    Raises:
        InvalidUtterance: the text begins as an envelope and is none.
    """
    if not action.startswith(MARKER):
        return Reply(action)
    if len(action) > MAX_ENVELOPE:
        raise InvalidUtterance(f"a reply as an action has up to {MAX_ENVELOPE} characters")
    body = action[len(MARKER) :]
    try:
        with suppress(ValueError):
            return from_json(body, Reply)
        return msgspec.convert(json.loads(body), Reply)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
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
