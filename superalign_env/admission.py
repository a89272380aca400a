"""Admission of replies: types, ranges, depth and size, before rules and record see them.

What a model can write (text, thought, tool calls, log-probs that are not finite) is
repaired: the utterance and an event say why, and it costs the part ``format``. What only a
program can get wrong fails the episode, with the reason. Whatever loses nothing is converted
without a word: lists for tuples, subclasses of str and int, numbers of numpy.
"""

from collections.abc import Callable
from itertools import islice
from math import inf, isfinite
from operator import index
from struct import Struct
from typing import Any

from msgspec.structs import replace

from superalign_env.errors import InvalidUtterance, ProtocolError
from superalign_env.plain_text import without_surrogates
from superalign_env.plain_values import (
    LARGEST_WHOLE,
    MAX_CALLS,
    MAX_NAME,
    calls_within_limits,
    encodable,
    proper_calls,
    proper_notes,
)
from superalign_env.spaces import flaw
from superalign_env.types import Reply, Usage

MAX_THOUGHT = 1 << 20
"""Characters of a private thought; the rest is cut. The limit of an utterance is the
scenario's ``max_utterance``, those of arguments stand in `superalign_env.plain_values`."""

MAX_TOKENS = 1 << 20
"""Prompt ids, token ids or log-probs of one reply; with more the episode fails."""

MAX_REASON = 500
"""Characters of the reason why there is no reply; the rest is cut."""

MAX_ENVELOPE = 1 << 26
"""Characters of a reply that travels as a PettingZoo action; a longer one is no reply."""

MAX_VERDICT = 1 << 16
"""Characters of a verdict; a longer text is no verdict."""

MAX_FAULTS = 64
"""Faults of a verdict; a text that claims more is no verdict."""

_MOST_ID, _MOST_LAYOUTS = (1 << 31) - 1, 8192
_LEAST, _MOST = -3e38, 0.01  # log-probs: what 32 bits hold, and 0 with what rounding adds
_HIGHEST = slice(3, None, 4)  # byte of every id, in little-endian bytes
_FINISHES = frozenset({"stop", "length", "error", ""})
_EMPTY, _STOP, _NONE = "", "stop", ()
_ONLY_INT, _ONLY_FLOAT = frozenset({int}).issuperset, frozenset({float}).issuperset
_INTERRUPTS = (KeyboardInterrupt, GeneratorExit)


def failure(reason: object) -> Reply:
    """Return the reply that stands for no reply; its episode ends as failed."""
    try:
        if isinstance(reason, BaseException):
            reason = f"{type(reason).__name__}: {reason}"
        text = without_surrogates(str.__str__(str(reason))[:MAX_REASON])
    except _INTERRUPTS:
        raise
    except BaseException:  # an exception of somebody else's class that cannot be read
        text = "an exception that cannot be read"
    return Reply("", finish="error", error=text if text.strip() else "no reason given")


def objection(text: object, limit: int) -> str:
    """Return the message about an invalid text; empty for a valid one."""
    if not (reason := flaw(text, limit)):
        return ""
    return (
        f"the text {reason}; say any text without NUL and lone surrogates, "
        f"up to {limit} characters"
    )


def is_plain(reply: object, limit: int) -> bool:
    """Return whether a reply is taken as it is, without a closer look: most are.

    This is done for every turn, so it asks for the very types and default objects; whatever
    else is fine is found to be so by `admitted`.

    Args:
        reply: whatever an agent gave.
        limit: longest utterance, in characters.
    """
    if type(reply) is not Reply:
        return False
    text, finish, policy, notes = reply.text, reply.finish, reply.policy, reply.notes
    try:
        return (
            type(text) is str
            and len(text) <= limit
            and ((text.isascii() and "\x00" not in text) or not flaw(text, limit))
            and reply.error is _EMPTY is reply.thought
            and reply.tool_calls is _NONE
            and type(notes) is dict
            and not notes
            and (
                (reply.token_ids is _NONE is reply.logprobs and reply.prompt_ids is _NONE)
                or _are_numbers(reply.prompt_ids, reply.token_ids, reply.logprobs)
            )
            and (finish is _STOP or (type(finish) is str and finish in _FINISHES))
            and (
                policy is _EMPTY
                or (type(policy) is str and len(policy) <= MAX_NAME and policy.isascii())
            )
            and (reply.usage is None or _is_usage(reply.usage))
        )
    except Exception:  # numbers that are none; `typed` finds the words
        return False


def with_text(reply: object) -> Reply:
    """Return the reply if it has a text, else as `typed`: without one it is no utterance."""
    return reply if type(reply) is Reply and type(reply.text) is str else typed(reply)


def typed(reply: object) -> Reply:
    """Return the reply with the types that `Reply` declares, or a failed one.

    What a model may have written wrongly stays as it is, for `admitted` to repair.

    Args:
        reply: whatever came back from an agent.
    """
    try:
        return _typed(reply)
    except _INTERRUPTS:
        raise
    except BaseException as error:  # also what the methods of a hostile object raise
        return failure(error)


def admitted(reply: object, limit: int, *, refused: str = "") -> tuple[Reply, str]:
    """Return the reply as rules and record take it, and why it was changed, if it was.

    Too long a text is cut, NUL and lone surrogates become U+FFFD, what is no text becomes an
    empty one; likewise thoughts. Tool calls beyond the limits are dropped, and so are the
    numbers of a reply whose log-probs are not finite. A reply with an error says why there
    is none.

    Args:
        reply: whatever an agent gave.
        limit: longest utterance, in characters.
        refused: seat whose text is an error where it is none; where empty it is repaired.

    Raises:
        InvalidUtterance: about the text alone.
    """
    reasons: list[str] = []
    original: object = ""
    if isinstance(reply, Reply):
        # A subclass of str is a text like any other.
        text = str.__str__(reply.text) if isinstance(reply.text, str) else reply.text
        original, reason = text, flaw(text, limit)
        if reason:
            reasons.append(reason)
            text = without_surrogates(text[:limit]) if isinstance(text, str) else ""
        reply = replace(reply, text=text)
    proper = typed(reply)
    if proper.error:
        return proper, ""
    if reasons and refused:
        raise InvalidUtterance(f"{refused}: {objection(original, limit)}")
    calls = calls_within_limits(proper.tool_calls, reasons)
    proper = replace(proper, thought=_thought(proper.thought, reasons), tool_calls=calls)
    if not all([_LEAST <= number <= _MOST for number in proper.logprobs]):
        reasons.append("logprobs are not finite numbers up to 0")
        proper = replace(proper, prompt_ids=(), token_ids=(), logprobs=())
    return proper, "; ".join(reasons)


class _Layouts(dict[int, Callable[..., bytes]]):
    """Encoders of so many ids each, made when they are first wanted."""

    def __missing__(self, count: int) -> Callable[..., bytes]:
        if count > MAX_TOKENS:
            raise ValueError(f"more than {MAX_TOKENS} ids")
        if len(self) > _MOST_LAYOUTS:
            self.clear()
        pack = self[count] = Struct(f"<{count}I").pack
        return pack


_pack = _Layouts()


def _are_numbers(prompt_ids: object, token_ids: object, logprobs: object) -> bool:
    if not (type(prompt_ids) is type(token_ids) is type(logprobs) is tuple):
        return False
    # The very types: others pass for numbers here, and cannot be written as JSON.
    whole = _ONLY_INT(map(type, prompt_ids)) and _ONLY_INT(map(type, token_ids))
    if not (whole and _ONLY_FLOAT(map(type, logprobs))):
        return False
    numbers = len(logprobs)
    if numbers not in {0, len(token_ids) or numbers}:
        return False
    raw = _pack[len(prompt_ids)](*prompt_ids) + _pack[len(token_ids)](*token_ids)
    return (
        raw[_HIGHEST].isascii()  # without the first bit an id has 31 bits
        and isfinite(sum(logprobs))  # a sum that is finite is one of finite numbers
        and (not numbers or (min(logprobs) >= _LEAST and max(logprobs) <= _MOST))
        and numbers <= MAX_TOKENS
    )


def _is_usage(usage: object) -> bool:
    return (
        type(usage) is Usage
        and type(usage.prompt_tokens) is int
        and type(usage.completion_tokens) is int
        and type(usage.dollars) is float
        and 0 <= usage.prompt_tokens <= LARGEST_WHOLE
        and 0 <= usage.completion_tokens <= LARGEST_WHOLE
        and 0.0 <= usage.dollars < inf
    )


def _typed(reply: object) -> Reply:
    if not isinstance(reply, Reply):
        raise ProtocolError(
            f"an agent returned a {type(reply).__name__}; return a Reply (or wrap a function "
            "with as_agent)"
        )
    error = _text("error", reply.error)
    if error:
        return failure(error)
    proper = Reply(
        _text("text", reply.text),
        _text("thought", reply.thought),
        proper_calls(_listed("tool_calls", reply.tool_calls, MAX_CALLS + 1)),
        _ids("prompt_ids", reply.prompt_ids),
        _ids("token_ids", reply.token_ids),
        _logprobs(reply.logprobs),
        _finish(reply.finish),
        _usage(reply.usage),
        _policy(reply.policy),
        notes=proper_notes(reply.notes),
    )
    numbers = len(proper.logprobs)
    if numbers and proper.token_ids and numbers != len(proper.token_ids):
        raise ProtocolError(
            f"the reply has {numbers} logprobs for {len(proper.token_ids)} token_ids; give "
            "one for each, or none"
        )
    return proper


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise ProtocolError(f"the reply's {field} is a {type(value).__name__}, not a str")
    return str.__str__(value)


def _finish(value: object) -> Any:
    finish = _text("finish", value)
    if finish not in _FINISHES:
        raise ProtocolError(f"finish {finish[:20]!r} is not stop, length, error or empty")
    return finish


def _policy(value: object) -> str:
    policy = _text("policy", value)
    if flaw(policy, MAX_NAME):
        raise ProtocolError(f"the reply's policy {flaw(policy, MAX_NAME)}")
    return policy


def _listed(field: str, values: object, most: int) -> list[Any]:
    """Return the entries of what stands for a tuple; an endless one is cut.

    Raises:
        ProtocolError: it is no sequence.
    """
    unordered = isinstance(values, (str, bytes, dict, set, frozenset))
    if unordered or not hasattr(type(values), "__len__"):
        raise ProtocolError(
            f"the reply's {field} must be a tuple, not a {type(values).__name__}"
        )
    return list(islice(iter(values), most))  # type: ignore[call-overload]  # see above


def _numbers(field: str, values: object) -> list[Any]:
    numbers = _listed(field, values, MAX_TOKENS + 1)
    if len(numbers) > MAX_TOKENS:
        raise ProtocolError(f"the reply has more than {MAX_TOKENS} {field}")
    return numbers


def _ids(field: str, values: object) -> tuple[int, ...]:
    try:
        # `int` would cut fractions off and read digits out of texts.
        ids = tuple([int(index(one)) for one in _numbers(field, values)])
    except TypeError as error:
        raise ProtocolError(
            f"the reply's {field} must be whole numbers: {error}"
        ) from error
    for one in ids:
        if not 0 <= one <= _MOST_ID:
            raise ProtocolError(f"the reply's {field} must lie between 0 and {_MOST_ID}")
    return ids


def _logprobs(values: object) -> tuple[float, ...]:
    numbers = _numbers("logprobs", values)
    try:
        if any([isinstance(number, (str, bytes)) for number in numbers]):
            raise TypeError("one is a text")
        return tuple([float(number) for number in numbers])
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the reply's logprobs must be floats: {error}") from error


def _usage(usage: object) -> Usage | None:
    if usage is None or (type(usage) is Usage and _is_usage(usage)):
        return usage
    if not isinstance(usage, Usage):
        raise ProtocolError(
            f"the reply's usage is a {type(usage).__name__}, not a Usage or None"
        )
    try:
        proper = Usage(
            int(index(usage.prompt_tokens)),
            int(index(usage.completion_tokens)),
            float(usage.dollars),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the reply's usage holds no numbers: {error}") from error
    if not _is_usage(proper):
        raise ProtocolError(
            "the reply's usage must be token counts from 0 and a finite price"
        )
    return proper


def _thought(thought: str, reasons: list[str]) -> str:
    if len(thought) > MAX_THOUGHT:
        reasons.append(f"the thought has more than {MAX_THOUGHT} characters")
        thought = thought[:MAX_THOUGHT]
    clean = encodable(thought)
    if clean != thought:
        reasons.append("the thought contains a lone surrogate")
    return clean
