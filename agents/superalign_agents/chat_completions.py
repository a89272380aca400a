"""Chat-completion requests from views, and replies from what a server answers.

Servers that call themselves OpenAI-compatible differ in what they refuse. A `Dialect`
says what to leave out; `simpler` finds the next one to try after a refusal. An answer that
does not fit is a `ValueError`.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from superalign_env.types import Message, Reply, ToolCall, ToolSpec, Usage, View

_PROMPTS = Path(__file__).parent / "prompts"

_OPTIONAL = ("logprobs", "seed", "temperature")
"""Fields that a request can do without. Tools are none: a refusal of them is an error."""

_SEED_BITS = 31
"""Some servers keep seeds in 32 bits, others in a double; all take 31 bits."""

Structured = Literal["schema", "object", "prompt"]
"""How the form of a reply is asked for, best first."""


class Dialect(msgspec.Struct, frozen=True):
    """Request fields that one server accepts."""

    structured: Structured = "schema"
    without: frozenset[str] = frozenset()
    """Optional fields that it refuses; ``max_tokens`` means: by its newer name."""


def request(
    model: str, view: View, dialect: Dialect, *, temperature: float
) -> dict[str, Any]:
    """Return the body of a chat-completion request for one view."""
    messages = [_message(message) for message in view.messages]
    if not messages:
        messages = [{"role": "user", "content": view.text}]
    body: dict[str, Any] = {"model": model, "messages": messages}
    limit = "max_completion_tokens" if "max_tokens" in dialect.without else "max_tokens"
    body[limit] = view.max_new_tokens
    if view.tools:
        body["tools"] = [_tool(tool) for tool in view.tools]
    optional = {
        "temperature": temperature,
        "seed": view.seed & ((1 << _SEED_BITS) - 1),
        "logprobs": True,
    }
    body |= {key: value for key, value in optional.items() if key not in dialect.without}
    schema = _schema(view)
    if schema is not None:
        if dialect.structured == "schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "reply",
                    "schema": schema,
                    "strict": _is_strict(schema),
                },
            }
        else:
            messages[-1] = _instructed(messages[-1], view, schema, dialect.structured)
            if dialect.structured == "object":
                body["response_format"] = {"type": "json_object"}
    return body


def simpler(dialect: Dialect, body: Mapping[str, Any], complaint: str) -> Dialect | None:
    """Return the dialect to try after a server refused a request, or None.

    Args:
        dialect: the one that was refused.
        body: the request.
        complaint: the server's words; an optional field that they name is left out
            first, then structured output is asked for more modestly, then log-probs go.
    """
    named = [key for key in _OPTIONAL if key in body and key in complaint]
    if "max_tokens" in body and "max_tokens" in complaint:
        named.append("max_tokens")
    if named and "response_format" not in complaint:
        return msgspec.structs.replace(dialect, without=dialect.without | {named[0]})
    if "response_format" in body:
        lower: Structured = "object" if dialect.structured == "schema" else "prompt"
        return msgspec.structs.replace(dialect, structured=lower)
    if "logprobs" in body:
        return msgspec.structs.replace(dialect, without=dialect.without | {"logprobs"})
    return None


def chosen(view: View, text: str) -> str:
    """Return the choice inside the JSON that `request` asked for; other text as it is."""
    if view.form != "choices":
        return text
    try:
        choice = json.loads(text)["choice"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return text.strip()
    return choice if isinstance(choice, str) else text


def _message(message: Message) -> dict[str, Any]:
    if message.role == "tool":  # servers want ids of calls, which messages do not carry
        content = _prompt("tool_result").replace("{result}", message.content)
        return {"role": "user", "content": content}
    return {"role": message.role, "content": message.content}


def _tool(tool: ToolSpec) -> dict[str, Any]:
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": parameters,
        },
    }


def _schema(view: View) -> dict[str, Any] | None:
    """Return the JSON schema that a reply must fit, where the view wants a form."""
    if view.form == "json-schema":
        return view.schema or {"type": "object"}
    if view.form == "choices" and view.menu:
        choice = {"type": "string", "enum": list(view.menu)}
        return {
            "type": "object",
            "properties": {"choice": choice},
            "required": ["choice"],
            "additionalProperties": False,
        }
    return None


def _is_strict(schema: object) -> bool:
    """Whether every object in a schema is closed and needs all its properties."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            properties = schema.get("properties", {})
            if schema.get("additionalProperties") is not False:
                return False
            if set(schema.get("required", ())) != set(properties):
                return False
        return all(_is_strict(value) for value in schema.values())
    if isinstance(schema, list):
        return all(_is_strict(value) for value in schema)
    return True


def _instructed(
    message: dict[str, Any], view: View, schema: dict[str, Any], structured: Structured
) -> dict[str, Any]:
    """Return the last message with the wanted form described in words."""
    if view.form == "choices" and structured == "prompt":
        words = _prompt("choices").replace("{choices}", "\n".join(view.menu))
    else:
        shown = json.dumps(schema, ensure_ascii=False)
        words = _prompt("json_reply").replace("{schema}", shown)
    return {**message, "content": f"{message['content']}\n\n{words}"}


@cache
def _prompt(name: str) -> str:
    return (_PROMPTS / f"{name}.md").read_text(encoding="utf-8").strip()


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


def read_reply(raw: bytes, view: View, *, price: tuple[float, float] = (0.0, 0.0)) -> Reply:
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
