"""A Reply as the text of a PettingZoo action, and back, exactly.

A reply that is only text *is* its text. One that carries more (a private thought, tool
calls, token ids) travels as an envelope: a marker and canonical JSON.
"""

import msgspec

from superalign_env.canonical import from_json, to_json
from superalign_env.errors import InvalidUtterance
from superalign_env.types import Reply

_MARKER = "\u241freply\u241f"


def encode(reply: Reply) -> str:
    """Return the action text of a reply."""
    if reply == Reply(reply.text) and not reply.text.startswith(_MARKER):
        return reply.text
    return _MARKER + to_json(reply).decode()


def decode(action: str) -> Reply:
    """Return the reply that an action text stands for.

    Raises:
        InvalidUtterance: the text begins as an envelope and is none.
    """
    if not action.startswith(_MARKER):
        return Reply(action)
    try:
        return from_json(action[len(_MARKER) :], Reply)
    except msgspec.DecodeError as error:
        raise InvalidUtterance(
            f"an action that begins with the reply marker must be codec.encode(reply): {error}"
        ) from error
