"""Base of all settings: frozen, checked at construction, unknown keys refused."""

from collections.abc import Collection, Iterator, Mapping
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


def _section(key: str) -> str:
    return key.rpartition(".")[0]


def keys_in(plain: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield every key of plain settings, with dots, sections before what is in them."""
    for name, value in plain.items():
        yield f"{above}{name}"
        if isinstance(value, Mapping):
            yield from keys_in(value, f"{above}{name}.")
