"""Base of all settings: frozen, checked at construction, unknown keys refused."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from superalign_env.errors import hint, nearest

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Plural = Annotated[int, Field(ge=2)]


class Section(BaseModel):
    """A section of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def unknown_key(key: str, keys: Collection[str]) -> str:
    """Return the error message for an unknown key, with the nearest ones.

    Args:
        key: with dots, as it was written.
        keys: all keys there are, sections among them, with dots.
    """
    section, _, leaf = key.rpartition(".")
    inside = {name.rpartition(".")[2]: name for name in keys if _section(name) == section}
    # Most of a key may be its section, so that whole keys have to be more alike.
    similar = [] if inside else nearest(key, keys, cutoff=0.75)
    suggestions = [inside[name] for name in nearest(leaf, inside)] or similar
    # Whoever forgot the section meant one of these.
    suggestions = (
        suggestions or [name for name in keys if name.rpartition(".")[2] == leaf][:3]
    )
    advice = "all are in docs/training.md, Settings"
    if suggestions or (section and inside):
        advice = hint(suggestions, inside.values())
    return f"no setting is called {key}; {advice}"


_EXPECTED = {
    "bool": "write true or false",
    "dict": "write a mapping, as in {a: 1}",
    "finite": "write a finite number, as in 0.2",
    "float": "write a number, as in 0.2",
    "int": "write a whole number, as in 3",
    "list": "write a list, as in [a, b]",
    "mapping": "write a mapping, as in {a: 1}",
    "model": "write its keys one by one, as in SECTION.KEY=VALUE",
    "path": "write a path, as in runs/mine",
    "string": "write a text",
    "tuple": "write a list, as in [a, b]",
}
"""First part of the type of a validation error → what to write instead."""

_FORM = ("type", "parsing", "parsing_size", "from_float", "number")
"""Second part of the type where the form is wrong, not a bound."""

_BOUNDS = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}


def expected(flaw: Mapping[str, Any]) -> str:
    """Return what to write instead of a value that does not fit.

    Args:
        flaw: one of the errors that pydantic lists.
    """
    context, value = flaw.get("ctx", {}), flaw["input"]
    for name, words in _BOUNDS.items():
        if name in context:
            return f"must be {words} {context[name]:g}"
    if flaw["type"] == "too_short":
        return f"write at least {context['min_length']} of them"
    if flaw["type"] == "literal_error":
        return f"choose {context['expected']}"
    kind, _, what = flaw["type"].partition("_")
    if kind == "float" and isinstance(value, str) and value.endswith("%"):
        with suppress(ValueError):
            return f"write a share as a number: {float(value[:-1]) / 100:g}"
    if kind in _EXPECTED and what in _FORM:
        return _EXPECTED[kind].replace("SECTION", ".".join(map(str, flaw["loc"])))
    return str(flaw["msg"]).removeprefix("Value error, ")


def _section(key: str) -> str:
    return key.rpartition(".")[0]


def keys_in(plain: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield every key of plain settings, with dots, sections before what is in them."""
    for name, value in plain.items():
        yield f"{above}{name}"
        if isinstance(value, Mapping):
            yield from keys_in(value, f"{above}{name}.")
