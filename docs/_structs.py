"""Tables of structs and protocols: what their fields and members are, from the code itself."""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from superalign_env import types
from superalign_env.lookup import named_object

_AS = {"View": "Brief"}
"""Structs whose fields are explained at another one."""


def members_of(place: str) -> str:
    """Return what a protocol, ``module:attribute``, asks for."""
    rows = []
    for name, member in vars(loaded(place)).items():
        if not name.startswith("_"):
            given = "" if isinstance(member, property) else signature(member)
            rows.append((f"`{name}{given}`", summary(member)))
    return table(("member", "what it is"), rows)


def signature(method: Any) -> str:
    """Return the parameters of a method, less self and types."""
    return f"({', '.join(list(inspect.signature(method).parameters)[1:])})"


def struct_of(*places: str) -> str:
    """Return the fields of a struct; what it does not explain, the next one may."""
    found = [dict(described(loaded(place))) for place in places]
    rows = []
    for field, (kind, default, _) in found[0].items():
        said = [fields[field][2] for fields in found if field in fields]
        named = [other for other in exported(types) if re.search(rf"\b{other}\b", kind)]
        more = [summary(getattr(types, other)) for other in named]
        meaning = next(filter(None, [*said, *more]), "")
        rows.append((f"`{field}`", f"`{kind}`", f"`{default}`" if default else "", meaning))
    return table(("field", "type", "default", "meaning"), rows)


def types_of(place: str) -> str:
    """Return every struct that a module exports: what it is, and its fields."""
    parts = []
    for name in exported(import_module(place)):
        said = summary(loaded(f"{place}:{name}"))
        places = [f"{place}:{one}" for one in (name, _AS.get(name)) if one]
        parts += [f"## {name}", said, struct_of(*places)]
    return "\n\n".join(parts)


def exported(module: ModuleType) -> list[str]:
    """Return the names of the structs that a module exports."""
    return [
        name
        for name in module.__all__
        if hasattr(getattr(module, name), "__struct_fields__")
    ]


def summary(thing: object) -> str:
    """Return the first paragraph of a docstring, on one line."""
    said = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    return " ".join(said.split()).replace("``", "`")


def described(struct: type) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield (field, (type, default, the docstring below it)) of a struct."""
    (defined,) = ast.parse(inspect.getsource(struct)).body
    body = defined.body if isinstance(defined, ast.ClassDef) else []
    for line, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            said = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                said = " ".join(str(below.value.value).split()).replace("``", "`")
            default = "" if line.value is None else ast.unparse(line.value)
            yield line.target.id, (ast.unparse(line.annotation), default, said)


def loaded(place: str) -> Any:
    """Return what ``module:attribute`` names."""
    return named_object(place, kind="part of a page")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
