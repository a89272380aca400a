"""What settings are made of: frozen, checked at construction, unknown keys refused."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Plural = Annotated[int, Field(ge=2)]


class Section(BaseModel):
    """Settings that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def unknown_key(key: str, known: Collection[str]) -> str:
    """Return what to say of a key that does not exist: the nearest ones.

    Args:
        key: with dots, as it was written.
        known: all keys there are, sections among them, with dots.
    """
    section, _, last = key.rpartition(".")
    inside = {name.rpartition(".")[2]: name for name in known if _section(name) == section}
    near = difflib.get_close_matches(last, inside, n=2)
    whole = [] if inside else difflib.get_close_matches(key, known, n=2, cutoff=0.75)
    found = [inside[name] for name in near] or whole
    # Whoever forgot the section meant one of these.
    found = found or [name for name in known if name.rpartition(".")[2] == last][:3]
    if found:
        return f"no setting is called {key}; did you mean {' or '.join(found)}?"
    if section and inside:
        return f"no setting is called {key}; there are {', '.join(inside.values())}"
    return f"no setting is called {key}; all are in docs/training.md, Settings"


def _section(key: str) -> str:
    return key.rpartition(".")[0]


def keys_in(plain: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield every key of plain settings, with dots, sections before what is in them."""
    for name, value in plain.items():
        yield f"{above}{name}"
        if isinstance(value, Mapping):
            yield from keys_in(value, f"{above}{name}.")
