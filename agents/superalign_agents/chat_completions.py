"""Chat-completion requests from views.

Servers that call themselves OpenAI-compatible differ in what they refuse. A `Dialect`
says what to leave out; `simpler` finds the next one to try after a refusal.
"""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import msgspec

from superalign_agents.chat_messages import (
    KNOWN,
    Conversation,
    conversation,
    counted,
    folded,
    has_system,
    prompt,
)
from superalign_agents.sampling import DEFAULT_SAMPLING, Sampling
from superalign_env.types import ToolSpec, View

_OPTIONAL = ("logprobs", "seed", "temperature")
"""Fields that a request can do without. Tools are none: a refusal of them is an error."""

_SEED_BITS = 31
"""Some servers keep seeds in 32 bits, others in a double; all take 31 bits."""

_ROLES = re.compile(r"\bsystem\b|\broles?\b", re.IGNORECASE)

Structured = Literal["schema", "object", "prompt", "none"]
"""How the form of a reply is asked for, best first; ``none``: not at all."""


class Dialect(msgspec.Struct, frozen=True):
    """Request fields that one server accepts."""

    structured: Structured = "schema"
    without: frozenset[str] = frozenset()
    """Optional fields that it refuses; ``max_tokens`` means: by its newer name."""
    folds: bool = False
    """Whether it knows users and assistants in turn only, and no system messages."""


class Asked(NamedTuple):
    """Messages of a request, and what was done to them."""

    messages: Conversation
    notes: dict[str, int]
    """As in `Reply.notes`."""


def asked(view: View, dialect: Dialect) -> Asked:
    """Return the messages of a view in a dialect, with control tokens made inert."""
    messages, inert = [], 0
    for message in conversation(view):
        content, count = KNOWN.inert(message["content"])
        inert += count
        messages.append({**message, "content": content})
    system = has_system(messages) and dialect.folds
    if dialect.folds:
        messages = folded(messages)
    return Asked(
        [_message(message) for message in messages],
        counted({"prompt.made-inert": inert, "prompt.system-folded": int(system)}),
    )


def request(
    model: str,
    view: View,
    dialect: Dialect,
    prompted: Asked,
    *,
    temperature: float,
    sampling: Sampling = DEFAULT_SAMPLING,
) -> dict[str, Any]:
    """Return the body of a chat-completion request for one view.

    Args:
        model: as the server calls it.
        view: what is asked.
        dialect: what the server accepts.
        prompted: the view's messages in this dialect.
        temperature: of sampling.
        sampling: further options. Unlike the temperature they are never left out: a server
            that refuses them fails the reply.
    """
    messages = list(prompted.messages)
    body: dict[str, Any] = {"model": model, "messages": messages}
    limit = "max_completion_tokens" if "max_tokens" in dialect.without else "max_tokens"
    body[limit] = view.max_new_tokens
    if sampling.top_p < 1:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if view.tools:
        body["tools"] = [_tool(tool) for tool in view.tools]
    optional = {
        "temperature": temperature,
        "seed": view.seed & ((1 << _SEED_BITS) - 1),
        "logprobs": True,
    }
    body |= {key: value for key, value in optional.items() if key not in dialect.without}
    schema = _schema(view) if dialect.structured != "none" else None
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
    if not dialect.folds and complains_of_roles(body, complaint):
        return msgspec.structs.replace(dialect, folds=True)
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


def complains_of_roles(body: Mapping[str, Any], complaint: str) -> bool:
    """Whether a server's template refuses a system message, or neighbours of one role."""
    roles = [message["role"] for message in body["messages"]]
    plain = all(one != other for one, other in pairwise(roles))
    return not (plain and set(roles) <= {"user", "assistant"}) and bool(
        _ROLES.search(complaint)
    )


def _message(message: dict[str, str]) -> dict[str, str]:
    if message["role"] != "tool":
        return message
    # Servers want ids of calls, which messages do not carry.
    content = prompt("tool_result").replace("{result}", message["content"])
    return {"role": "user", "content": content}


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
        words = prompt("choices").replace("{choices}", "\n".join(view.menu))
    else:
        shown = json.dumps(schema, ensure_ascii=False)
        words = prompt("json_reply").replace("{schema}", shown)
    return {**message, "content": f"{message['content']}\n\n{words}"}
