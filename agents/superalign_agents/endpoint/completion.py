"""How a server's answer becomes a reply. Whatever does not fit is a `ValueError`."""

import json
from typing import Any, Literal

import msgspec

from superalign_agents.endpoint.dialect import chosen
from superalign_env.types import Reply, ToolCall, Usage, View

_MILLION = 1_000_000


class _Function(msgspec.Struct):
    name: str
    arguments: str | dict[str, Any] = ""


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


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


def read(raw: bytes, view: View, *, price: tuple[float, float] = (0.0, 0.0)) -> Reply:
    """Return the reply in the body of a chat completion.

    Token ids come from servers that were asked to return them (vLLM's
    ``return_token_ids``); log-probs without ids are kept, for confidence. The reply's
    policy is the model and its fingerprint, as far as the server tells them.

    Args:
        raw: the response body.
        view: what was answered.
        price: dollars per million prompt tokens and per million completion tokens.

    Raises:
        ValueError: the body is no chat completion, or holds nothing to say.
    """
    completion = msgspec.json.decode(raw, type=_Completion)
    if not completion.choices:
        raise ValueError("no choices")
    choice = completion.choices[0]
    message = choice.message
    calls = tuple(_tool_call(call) for call in message.tool_calls or ())
    text = message.content or message.refusal or ""
    if not text and not calls and choice.finish_reason == "content_filter":
        raise ValueError("the server's content filter withheld the reply")
    token_ids = tuple(choice.token_ids or ())
    logprobs = choice.logprobs.content if choice.logprobs else None
    values = tuple(entry.logprob for entry in logprobs or ())
    if token_ids and len(token_ids) != len(values):
        values = ()
    # Chat templates of word models put a space before a reply: it is no part of it.
    return Reply(
        chosen(view, text.removeprefix(" ")),
        thought=message.reasoning_content or message.reasoning or "",
        tool_calls=calls,
        prompt_ids=tuple(completion.prompt_token_ids or ()),
        token_ids=token_ids,
        logprobs=values,
        finish=_finish(choice.finish_reason),
        usage=_usage(completion.usage, price),
        policy="@".join(filter(None, (completion.model, completion.system_fingerprint))),
    )


def _finish(reason: str | None) -> Literal["stop", "length", ""]:
    if reason == "length":
        return "length"
    return "stop" if reason in ("stop", "tool_calls", "function_call") else ""


def _usage(used: _Usage | None, price: tuple[float, float]) -> Usage | None:
    if used is None:
        return None
    prompt, completion = used.prompt_tokens, used.completion_tokens or 0
    dollars = (prompt * price[0] + completion * price[1]) / _MILLION
    return Usage(prompt, completion, dollars)


def _tool_call(call: _Call) -> ToolCall:
    """Return a call; arguments that are no JSON object stay readable as ``unparsed``."""
    arguments = call.function.arguments
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else {"unparsed": arguments}
    return ToolCall(call.function.name, arguments, call.id or "")
