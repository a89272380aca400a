"""The one JSON form, and the content hash over it.

Canonical means: object keys sorted, no white space, UTF-8, shortest float repr.
NaN and infinities have no canonical form.
"""

import hashlib
import math
import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_encode = msgspec.json.Encoder(order="sorted").encode
_pack = msgspec.msgpack.Encoder().encode

_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
"""How a NaN or an infinity begins in MessagePack, which can tell them from None."""


def to_json(value: Any) -> bytes:
    """Return the canonical JSON of a struct, or of plain values.

    Raises:
        ValueError: lone surrogates, NaN or infinite numbers.
    """
    raw = _encode(value)
    if b"null" in raw and _NOT_FINITE.search(_pack(value)):
        _refuse_non_finite(msgspec.to_builtins(value))
    return raw


def from_json(raw: bytes | str, kind: type[T]) -> T:
    """Return the value of the given type that the JSON describes.

    Raises:
        ValueError: the text is not JSON or does not fit the type.
    """
    return msgspec.json.decode(raw, type=kind)


def content_hash(value: Any, *, floats: bool = True) -> str:
    """Return 32 hex digits that name the content of a value (BLAKE2b, 128 bits).

    Args:
        value: what to name.
        floats: whether it may hold floats, which must then be looked at.
    """
    raw = to_json(value) if floats else _encode(value)
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def text_hash(text: str) -> str:
    """Return 32 hex digits that name a text (BLAKE2b, 128 bits)."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _refuse_non_finite(value: Any) -> None:
    """Raise if a number in the tree has no JSON form (msgspec would write null)."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} has no JSON form; keep rewards and metrics finite")
    elif isinstance(value, dict):
        for item in value.values():
            _refuse_non_finite(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _refuse_non_finite(item)
