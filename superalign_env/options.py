"""Options of what is made by id: checked against its constructor before it is called."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from superalign_env.errors import InvalidOption, hint, nearest

_PLAIN = (str, int, float, bool, NoneType)
_OTHERS = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def check_options(
    called: str, target: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    """Refuse options that a constructor does not know, lacks, or cannot use.

    Types are looked at where both the value and its annotation are plain: words, numbers,
    truth values, `Literal`. Everything else is the constructor's own affair.

    Args:
        called: how messages name what is made.
        target: a class or a function.
        options: its keyword arguments.

    Raises:
        InvalidOption: names the option, and the nearest one, or what it may be.
    """
    parameters = _parameters(target)
    if parameters is None:
        return
    known = [name for name, p in parameters.items() if p.kind not in _OTHERS]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in options:
            if name not in known:
                said = hint(nearest(name, known), known)
                raise InvalidOption(f"{called} has no option {name!r}; {said}")
    for name in known:
        if parameters[name].default is inspect.Parameter.empty and name not in options:
            raise InvalidOption(f"{called} needs the option {name!r}")
    for name, kind in _plain_types(target).items():
        if name in options and type(options[name]) in _PLAIN:
            _check_type(f"{called}: {name}={options[name]!r}", options[name], kind)


def _check_type(called: str, value: object, kind: Any) -> None:
    try:
        msgspec.convert(value, kind)
    except TypeError:  # a type that nobody can check, such as a literal float
        return
    except msgspec.ValidationError as error:
        raise InvalidOption(
            f"{called} does not fit; {_allowed(kind) or str(error)}"
        ) from error


def _allowed(kind: Any) -> str:
    if get_origin(kind) is not Literal:
        return ""
    return f"choose {', '.join(repr(value) for value in get_args(kind))}"


@cache
def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """Return what may be passed; None where nobody can tell."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


@cache
def _plain_types(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotation of every parameter whose type is plain."""
    try:
        hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # a type that is there for mypy only
        return {}
    return {name: kind for name, kind in hints.items() if _is_plain(kind)}


def _is_plain(kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return all(_is_plain(part) for part in get_args(kind))
    return kind in _PLAIN or get_origin(kind) is Literal
