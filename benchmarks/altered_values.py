"""Small changes of a value in a column, by kind."""

import json
import math
import re
from collections.abc import Callable
from typing import Any


def _one_char(value: Any) -> Any:
    if not isinstance(value, str):
        return None
    at = [n for n, char in enumerate(value) if char.isalnum()]
    if not at:
        return value + " "
    last = at[-1]
    return value[:last] + ("1" if value[last] != "1" else "2") + value[last + 1 :]


def _next(value: Any) -> Any:
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else None
    if isinstance(value, float):
        return math.nextafter(value, math.inf)
    return value + 1 if isinstance(value, int) else _one_char(value)


def _as_json(value: Any) -> Any:
    if not isinstance(value, str) or value[:1] not in "[{" or len(value) < 3:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def _json_space(value: Any) -> Any:
    return value[0] + " " + value[1:] if _as_json(value) is not None else None


def _json_order(value: Any) -> Any:
    read = _as_json(value)
    if not isinstance(read, dict) or len(read) < 2:
        return None
    return json.dumps(dict(reversed(read.items())), separators=(",", ":"))


def _json_key(value: Any) -> Any:
    if (read := _as_json(value)) is None:
        return None
    if isinstance(read, dict):
        return json.dumps({**read, "extra": 1}, separators=(",", ":"))
    return json.dumps([*read, read[0]], separators=(",", ":"))


def _json_number(value: Any) -> Any:
    """Write a whole number of JSON as a float: 1 becomes 1.0."""
    if _as_json(value) is None:
        return None
    found = re.search(r"(?<=[\[:,])-?\d+(?=[\],}])", value)
    return value[: found.end()] + ".0" + value[found.end() :] if found else None


def _null(value: Any) -> Any:
    return NULL if value is not None else None


def _not_null(value: Any) -> Any:
    return "x" if value is None else None


def _other_type(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value.decode("latin-1") if value else None
    return str(value) if isinstance(value, int | float) else None


def _longer(value: Any) -> Any:
    return value + "\0hidden" if isinstance(value, str) else None


NULL = object()
VALUES: dict[str, Callable[[Any], Any]] = {
    "least change": _next,
    "JSON white space": _json_space,
    "JSON order of keys": _json_order,
    "JSON one entry more": _json_key,
    "JSON 1 → 1.0": _json_number,
    "NULL": _null,
    "NULL → value": _not_null,
    "same value, other type": _other_type,
    "text after a NUL": _longer,
}
