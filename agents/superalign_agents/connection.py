"""HTTP connection to a model server: bounded answers, no foreign redirects, no leaked key."""

import asyncio
import base64
import html
import ipaddress
import os
import re
import zlib
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from superalign_env.errors import InvalidOption

if TYPE_CHECKING:
    from openai import AsyncOpenAI

LOCAL_URL = "http://127.0.0.1:8000/v1"
"""Where vLLM and `transformers serve` listen."""

MAX_BODY = 8 * 2**20
"""Largest answer that is read, in bytes, before and after decompression."""

_MAX_REDIRECTS = 3

_SHORTEST_ENCODED = 6
"""Shorter keys are removed as they are only: an encoding of them occurs by chance."""


class Secret:
    """A key, and every form in which a server could send it back.

    Args:
        key: empty for none.
    """

    def __init__(self, key: str) -> None:
        self._pattern = re.compile("|".join(_forms(key))) if key else None

    def removed_from(self, text: str) -> str:
        """Return a text with ``[key]`` in place of the key, in whatever form."""
        return self._pattern.sub("[key]", text) if self._pattern else text

    def removed_from_values(self, value: Any) -> Any:
        """Return plain values (texts, lists, mappings) without the key."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.removed_from(value)
        if isinstance(value, dict):
            return {
                self.removed_from(name): self.removed_from_values(item)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self.removed_from_values(item) for item in value]
        return value


def _forms(key: str) -> list[str]:
    """Return regular expressions: plain, escaped, percent-encoded, hexadecimal, base64."""
    if len(key) < _SHORTEST_ENCODED:
        return [re.escape(key)]
    raw = key.encode()
    escaped = "".join(_character(character) for character in key)
    hexadecimal = r"(?:[\s:,-]|0x|\\x)*".join(f"(?i:{byte:02x})" for byte in raw)
    return [escaped, hexadecimal, *_base64_forms(raw)]


def _character(character: str) -> str:
    """Return an expression for a character as URLs, JSON, HTML and mail write it."""
    data = character.encode()
    percent = "".join(rf"(?:%(?:25)*|=){byte:02x}" for byte in data)
    code = ord(character)
    forms = [
        re.escape(character),
        rf"\\{re.escape(character)}",
        f"(?i:{percent})",
        rf"(?i:\\u{code:04x}|\\u\{{0*{code:x}\}}|\\x{code:02x}|&\#x0*{code:x};)",
        f"&#0*{code};",
        re.escape(html.escape(character)),
    ]
    return f"(?:{'|'.join(forms)})"


def _base64_forms(raw: bytes) -> list[str]:
    """Return the characters that a key fixes at each place within a base64 text."""
    forms = []
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + raw).decode()
        start = -(-8 * offset // 6)
        end = 8 * (offset + len(raw)) // 6
        either = {"+": "[+-]", "/": r"(?:\\?/|_|%2[fF])"}
        fixed = [either.get(c, re.escape(c)) for c in encoded[start:end]]
        forms.append(r"(?:\s|\\[rn])*".join(fixed))
    return forms


@cache
def bounded_client() -> Any:
    """Return a class of HTTP clients that read at most `MAX_BODY` and stay with one server.

    What they refuse reaches their caller as an answer with an error, which is not tried
    again. Their time limit holds until the last byte of an answer.
    """
    from openai import DefaultAsyncHttpxClient  # noqa: PLC0415 - half a second to import

    httpx: Any = import_module(DefaultAsyncHttpxClient.__mro__[1].__module__.split(".")[0])

    class BoundedClient(DefaultAsyncHttpxClient):
        async def send(self, request: Any, **settings: Any) -> Any:
            settings |= {"stream": True, "follow_redirects": False}
            seconds = self.timeout.read
            try:
                async with asyncio.timeout(seconds):
                    return await _redirected(super().send, request, settings)
            except TimeoutError as error:
                reason = f"no whole answer within {seconds:g} s"
                raise httpx.ReadTimeout(reason, request=request) from error

    return BoundedClient


async def _redirected(
    send: Callable[..., Awaitable[Any]], request: Any, settings: dict[str, Any]
) -> Any:
    """Return the whole answer to a request, redirected within its server at most."""
    origin = _origin(request.url)
    for _ in range(_MAX_REDIRECTS + 1):
        request.headers["accept-encoding"] = "identity"
        response = await send(request, **settings)
        try:
            following = response.next_request
            if following is None:
                return await _whole(response)
        finally:
            await response.aclose()
        if _origin(following.url) != origin:
            return _refusal(
                response, 421, f"it redirects to another server, {following.url}"
            )
        request = following
    return _refusal(response, 421, "it redirects without end")


async def _whole(response: Any) -> Any:
    """Return an answer with its body, or with the reason why it is not read."""
    raw = bytearray()
    async for chunk in response.aiter_raw(65536):
        raw += chunk
        if len(raw) > MAX_BODY:
            return _refusal(response, 413, _too_long())
    try:
        body = decompressed(bytes(raw), response.headers.get("content-encoding", ""))
    except ValueError as error:
        return _refusal(response, 413, str(error))
    dropped = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(k, v) for k, v in response.headers.items() if k not in dropped]
    return type(response)(
        response.status_code, headers=headers, content=body, request=response.request
    )


def _refusal(response: Any, status: int, message: str) -> Any:
    """Return an answer of ours in place of a server's."""
    return type(response)(
        status,
        json={"error": {"message": message}},
        headers={"x-should-retry": "false"},
        request=response.request,
    )


def decompressed(raw: bytes, encoding: str) -> bytes:
    """Return a body as it was before its compression, none of which was asked for.

    Raises:
        ValueError: it is longer than `MAX_BODY`, damaged, or compressed in another way.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ValueError(f"its answer is compressed ({encoding}) though none was asked for")
    body = b""
    window = zlib.MAX_WBITS if encoding == "deflate" and raw[:1] != b"\x78" else 0
    while raw:
        stream = zlib.decompressobj(-window if window else zlib.MAX_WBITS | 32)
        try:
            body += stream.decompress(raw, MAX_BODY + 1 - len(body))
        except zlib.error as error:
            raise ValueError(f"its answer is damaged ({error})") from error
        if len(body) > MAX_BODY:
            raise ValueError(_too_long())
        raw = stream.unused_data if stream.eof else b""
    return body


def _too_long() -> str:
    return f"its answer is longer than {MAX_BODY >> 20} MiB; ask for fewer tokens"


def _origin(url: Any) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


def openai_client(
    base_url: str, key: str, *, local: bool, timeout: float, retries: int
) -> "AsyncOpenAI":
    """Return a client of the OpenAI protocol over a bounded connection."""
    from openai import AsyncOpenAI  # noqa: PLC0415 - half a second to import

    return AsyncOpenAI(
        api_key=key or "none",
        base_url=base_url,
        timeout=timeout,
        max_retries=retries,
        http_client=bounded_client()(trust_env=not local, timeout=timeout),
    )


def is_loopback(base_url: str) -> bool:
    """Whether the server is this machine.

    Raises:
        InvalidOption: no URL of a server, or one that holds a password.
    """
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise InvalidOption(f"base_url must look like {LOCAL_URL}, not {base_url!r}")
    if parts.username or parts.password:
        raise InvalidOption(
            "base_url is recorded and must hold no password; use api_key_env"
        )
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def key_for(base_url: str, variable: str) -> str:
    """Return the key from the environment; servers on this machine may do without.

    Args:
        base_url: of the server.
        variable: name of the environment variable, or empty.

    Raises:
        InvalidOption: the server is elsewhere and has no key, or the variable is empty.
    """
    if variable:
        key = os.environ.get(variable, "")
        if not key:
            raise InvalidOption(
                f"the environment variable {variable} is empty; set it to the API key"
            )
        if not key.isascii() or not key.isprintable():
            raise InvalidOption(
                f"the key in the environment variable {variable} holds characters that no "
                "HTTP header takes; copy it again"
            )
        return key
    if is_loopback(base_url):
        return ""
    raise InvalidOption(
        f"{base_url} is not on this machine: name the environment variable that holds its "
        "key, for example api_key_env='OPENAI_API_KEY'"
    )
