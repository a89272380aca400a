"""Renderer of chat templates: a process of its own, with limits, because templates are code.

A template comes with a model. The sandbox keeps it from reaching anything; only a process
can be kept from running for ever or filling the memory. Run by `chat_template`, one JSON
request a line. It imports nothing but Jinja.
"""

import json
import signal
import sys
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


class GenerationBlock(Extension):
    """The tag that marks what an assistant says; it changes nothing here."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja has it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise(message: Any) -> None:
    raise TemplateError(str(message))


def _to_json(value: Any, ensure_ascii: bool = False, **settings: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **settings)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


@lru_cache(maxsize=8)
def _compiled(source: str) -> Template:
    """Return a template in the environment that `transformers` gives it."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": _now,
        "dict": dict,
        "namespace": Namespace,
    }
    return environment.from_string(source)


def render(request: dict[str, Any], most: int) -> dict[str, str]:
    """Return the text of one conversation, or why there is none.

    Args:
        request: template, variables and messages.
        most: characters of the text.
    """
    try:
        parts, length = [], 0
        template = _compiled(request["template"])
        for part in template.generate(
            **request["variables"],
            messages=request["messages"],
            tools=None,
            documents=None,
            add_generation_prompt=request["generation"],
        ):
            parts.append(part)
            length += len(part)
            if length > most:
                return {"error": f"it writes more than {most} characters"}
        return {"text": "".join(parts)}
    except Exception as error:
        reason = str(error) or type(error).__name__
        return {"error": reason[:500]}


def _serve(seconds: float, memory: int, most: int) -> None:
    """Answer requests until the input ends; too long a rendering ends this process."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 (not everywhere)

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    timer = getattr(signal, "setitimer", None)
    for line in sys.stdin.buffer:
        if timer:
            timer(signal.ITIMER_PROF, seconds)  # its signal ends the process
        answer = render(json.loads(line), most)
        if timer:
            timer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
