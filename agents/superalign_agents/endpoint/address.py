"""Where a server is, and which key opens it."""

import ipaddress
import os
from urllib.parse import urlsplit

from superalign_env.errors import InvalidOption

LOCAL_URL = "http://127.0.0.1:8000/v1"
"""Where vLLM and `transformers serve` listen."""


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
        return key
    if is_loopback(base_url):
        return ""
    raise InvalidOption(
        f"{base_url} is not on this machine: name the environment variable that holds its "
        "key, for example api_key_env='OPENAI_API_KEY'"
    )
