"""What becomes of a reply before any rule sees it."""

from math import isfinite

from msgspec.structs import replace

from superalign_env.canonical import to_json
from superalign_env.plain_text import without_surrogates
from superalign_env.spaces import flaw
from superalign_env.types import Reply


def objection(text: object, limit: int) -> str:
    """Return what is wrong with a text as an utterance, and what to do; empty if nothing."""
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
