"""Replies from the bodies of chat completions: a stranger's JSON, checked before it is used.

A body that does not fit, or holds what no record holds, is a `ValueError`.
"""

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal

import msgspec

from superalign_agents.chat_messages import THINK, split_thoughts
from superalign_env.errors import InvalidOption
from superalign_env.plain_text import without_surrogates
from superalign_env.types import Reply, ToolCall, Usage, View

Prices = Mapping[str, Sequence[float]]
"""model → dollars per million prompt tokens and per million completion tokens."""

_MAX_DEPTH = 64
"""Deepest JSON that is taken from a server."""

_MAX_COUNT = 1 << 53
"""Largest whole number that is taken: as large as every JSON reader can hold."""

_MAX_ID = (1 << 31) - 1
"""Largest token id that a record holds."""

_MILLION = 1_000_000


class _Function(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] = ""


class _ServerCall(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ServerCall] | None = None


class _TokenLogprob(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_TokenLogprob] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    system_fingerprint: str | None = None
    usage: _Usage | None = None
    prompt_token_ids: list[int] | None = None


def read_reply(
    raw: bytes,
    view: View,
    *,
    price: tuple[float, float] = (0.0, 0.0),
    marks: tuple[tuple[str, str], ...] = THINK,
) -> Reply:
    """Return the reply in the body of a chat completion.

    Token ids come from servers that were asked to return them (vLLM's
    ``return_token_ids``); log-probs without ids are kept, for confidence. The reply's
    policy is the model and its fingerprint, as far as the server tells them.

    Args:
        raw: the response body.
        view: what was answered.
        price: dollars per million prompt tokens and per million completion tokens.
        marks: pairs of texts between which the model thinks.

    Raises:
        ValueError: the body is no chat completion, or holds nothing to say, or numbers
            that mean nothing.
    """
    completion = msgspec.convert(read_json(raw), _Completion)
    if not completion.choices:
        raise ValueError("no choices")
    choice = completion.choices[0]
    message = choice.message
    calls = tuple(_tool_call(call) for call in message.tool_calls or ())
    text = message.content or message.refusal or ""
    if not text and not calls and choice.finish_reason == "content_filter":
        raise ValueError("the server's content filter withheld the reply")
    token_ids = _ids(choice.token_ids, "token_ids")
    logprobs = choice.logprobs.content if choice.logprobs else None
    values = tuple(entry.logprob for entry in logprobs or ())
    if not all(isfinite(value) for value in values):
        raise ValueError("a log-probability is no finite number")
    if token_ids and len(token_ids) != len(values):
        values = ()
    spoken = split_thoughts(text, marks)
    own = message.reasoning_content or message.reasoning or ""
    thought = "\n".join(filter(None, (own, spoken.thought)))
    policy = "@".join(filter(None, (completion.model, completion.system_fingerprint)))
    # Chat templates of word models put a space before a reply: it is no part of it.
    return Reply(
        chosen(view, spoken.text.removeprefix(" ")),
        thought=without_surrogates(thought),
        tool_calls=calls,
        prompt_ids=_ids(completion.prompt_token_ids, "prompt_token_ids"),
        token_ids=token_ids,
        logprobs=values,
        finish=_finish(choice.finish_reason),
        usage=_usage(completion.usage, price),
        policy=without_surrogates(policy),
    )


def read_json(raw: bytes | str) -> Any:
    """Return what a JSON text of a stranger says.

    Raises:
        ValueError: it is no JSON, names a field twice, is too deep, or holds numbers that
            are not finite or too large.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise ValueError("a field is named twice")
        return fields

    def whole(digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) > _MAX_COUNT:
            raise ValueError(f"a number of {len(digits)} digits is too large")
        return int(digits)

    def fraction(digits: str) -> float:
        value = float(digits)
        if not isfinite(value):
            raise ValueError("a number is too large")
        return value

    def refused(name: str) -> Any:
        raise ValueError(f"{name} is no JSON number")

    try:
        content = json.loads(
            raw,
            object_pairs_hook=unique,
            parse_int=whole,
            parse_float=fraction,
            parse_constant=refused,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _depth(content, _MAX_DEPTH + 1) > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    return content


def _depth(value: Any, limit: int) -> int:
    """Return how deep plain values are nested, at most the limit."""
    level, depth = [value], 0
    while level and depth < limit:
        depth += 1
        level = [
            item
            for parent in level
            if isinstance(parent, (dict, list))
            for item in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(item, (dict, list))
        ]
    return depth


def _ids(ids: list[int] | None, what: str) -> tuple[int, ...]:
    """Return token ids, checked."""
    if not all(0 <= token <= _MAX_ID for token in ids or ()):
        raise ValueError(f"{what} holds numbers that are no token ids")
    return tuple(ids or ())


def _finish(reason: str | None) -> Literal["stop", "length", ""]:
    if reason == "length":
        return "length"
    return "stop" if reason in ("stop", "tool_calls", "function_call") else ""


def _usage(used: _Usage | None, price: tuple[float, float]) -> Usage | None:
    if used is None:
        return None
    prompt_tokens, completion = used.prompt_tokens, used.completion_tokens or 0
    if prompt_tokens < 0 or completion < 0:
        raise ValueError("its usage is negative")
    dollars = (prompt_tokens * price[0] + completion * price[1]) / _MILLION
    return Usage(prompt_tokens, completion, dollars)


def _tool_call(call: _ServerCall) -> ToolCall:
    """Return a call; arguments that are no JSON object stay readable as ``unparsed``."""
    arguments = call.function.arguments
    if isinstance(arguments, str):
        try:
            parsed = read_json(arguments or "{}")
        except ValueError:
            parsed = None
        written = {"unparsed": without_surrogates(arguments)}
        arguments = parsed if isinstance(parsed, dict) and _is_text(parsed) else written
    name, number = call.function.name, call.id or ""
    return ToolCall(without_surrogates(name), arguments, without_surrogates(number))


def _is_text(value: dict[str, Any]) -> bool:
    """Whether values can be written as UTF-8."""
    try:
        msgspec.json.encode(value)
    except ValueError:
        return False
    return True


def chosen(view: View, text: str) -> str:
    """Return the choice inside the JSON that `request` asked for; other text as it is."""
    if view.form != "choices":
        return text
    try:
        choice = json.loads(text)["choice"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return text.strip()
    return choice if isinstance(choice, str) else text


def price_of(model: str, prices: Prices) -> tuple[float, float]:
    """Return what a million prompt and a million completion tokens of a model cost.

    Raises:
        InvalidOption: the table has no such model, or no two prices ≥ 0 for it.
    """
    if not prices:
        return (0.0, 0.0)
    if model not in prices:
        raise InvalidOption(
            f"the price table has no {model!r} (it has {', '.join(sorted(prices))}); add it, or "
            "pass no table"
        )
    try:
        prompt, completion = (float(price) for price in prices[model])
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"the price of {model!r} must be two numbers, dollars per million prompt and "
            f"completion tokens, not {prices[model]!r}"
        ) from error
    if not (0 <= prompt < float("inf") and 0 <= completion < float("inf")):
        raise InvalidOption(f"prices of {model!r} must be finite and ≥ 0")
    return prompt, completion
