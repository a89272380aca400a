"""One table per kind: id → where the object lives, and one line about it.

Each package has a module-level ``PLUGINS`` mapping ``kind → id → (target, line)``. Ours
are known by name, others come by one entry point per package (``superalign.plugins``).
Nothing heavy is imported until `make`, which checks options against the constructor first.
"""

import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from superalign_env.errors import DuplicateId, InvalidOption, UnknownId, hint, nearest
from superalign_env.plain_text import inline

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
    names = [name for name, p in parameters.items() if p.kind not in _OTHERS]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for name in options:
            if name not in names:
                suggestion = hint(nearest(name, names), names)
                raise InvalidOption(f"{called} has no option {name!r}; {suggestion}")
    for name in names:
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
    """Return the parameters of a constructor; None where its signature is unknown."""
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


Table = Mapping[str, Mapping[str, tuple[str, str]]]
"""kind → id → ("module:attribute", one line)."""

_FIRST_PARTY = (
    "superalign_env.plugins",
    "superalign_agents",
    "superalign_scenarios",
    "superalign_training",
)


class Entry(NamedTuple):
    """One registered thing."""

    id: str
    target: str
    """``module:attribute``."""
    line: str
    """What it is, in one line."""
    package: str
    """Who registered it."""


class _Known(NamedTuple):
    """Entries of all packages, and why some could not be used."""

    entries: dict[str, dict[str, Entry]]
    left_out: list[str]


@cache
def _known() -> _Known:
    """Merge all tables."""
    merged: dict[str, dict[str, Entry]] = {}
    left_out: list[str] = []
    for package in _FIRST_PARTY:
        if importlib.util.find_spec(package) is not None:
            _add(merged, package, importlib.import_module(package).PLUGINS)
    kinds = frozenset(merged)  # each is called by the package that has entries of it
    # In order of name, so that of two that clash always the same one is left out.
    for point in sorted(entry_points(group="superalign.plugins"), key=lambda p: p.name):
        try:
            table = point.load()
            _add(merged, point.name, {k: table[k] for k in table if k in kinds})
            unknown = [kind for kind in table if kind not in kinds]
        except Exception as error:  # whatever a plug-in raises must not take others along
            why = f"plug-in {point.name!r} is left out: {type(error).__name__}: {error}"
            left_out.append(why)
            warnings.warn(inline(why), RuntimeWarning, stacklevel=2)
        else:
            for kind in unknown:
                why = _not_called(point.name, kind, table[kind], kinds)
                left_out.append(why)
                warnings.warn(inline(why), RuntimeWarning, stacklevel=2)
    return _Known(merged, left_out)


def _not_called(
    package: str, kind: str, names: Iterable[str], kinds: Collection[str]
) -> str:
    """Return the message about entries of an unknown kind."""
    suggestion = hint(nearest(kind, kinds), kinds, listed="kinds")
    return (
        f"plug-in {package!r}: {', '.join(names)} of the kind {kind!r} is left out: nothing "
        f"calls things of that kind; {suggestion}"
    )


def left_out() -> list[str]:
    """Return which plug-in packages, or parts of them, could not be used, in sentences."""
    return list(_known().left_out)


def _add(merged: dict[str, dict[str, Entry]], package: str, table: Table) -> None:
    """Add all entries of a package, or none."""
    additions = [
        (kind, Entry(name, target, line, package))
        for kind, rows in table.items()
        for name, (target, line) in rows.items()
    ]
    for kind, addition in additions:
        holder = merged.get(kind, {}).get(addition.id)
        if holder is not None:
            raise DuplicateId(
                f"{kind} {addition.id!r} is registered by {holder.package} as well; "
                "rename it or uninstall one of the packages"
            )
    for kind, addition in additions:
        merged.setdefault(kind, {})[addition.id] = addition


def refresh() -> None:
    """Forget the tables: after a plug-in package was installed into this process."""
    _known.cache_clear()


def kinds() -> list[str]:
    """Return the kinds that have entries, sorted."""
    return sorted(_known().entries)


def entries(kind: str) -> dict[str, Entry]:
    """Return all entries of a kind, sorted by id."""
    return dict(sorted(_known().entries.get(kind, {}).items()))


def entry(kind: str, name: str) -> Entry:
    """Return one entry.

    Raises:
        UnknownId: with the nearest ids.
    """
    entries = _known().entries.get(kind, {})
    if name not in entries:
        raise UnknownId(kind, name, entries, also="; ".join(left_out()))
    return entries[name]


def load(kind: str, name: str) -> Any:
    """Import and return the registered object itself: a class or a function."""
    module, _, attribute = entry(kind, name).target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def make(kind: str, name: str, /, **options: Any) -> Any:
    """Call the registered object with options.

    Raises:
        UnknownId: with the nearest ids.
        InvalidOption: an option that the constructor does not know, lacks or cannot use.
    """
    target = load(kind, name)
    check_options(f"{kind} {name!r}", target, options)
    return target(**options)


class ScenarioName(NamedTuple):
    """The four spellings of one scenario."""

    plain: str
    """``red-team``"""
    versioned: str
    """``red-team-v0``"""
    module: str
    """``red_team_v0``"""
    gymnasium: str
    """``superalign/RedTeam-v0``"""


def spell(versioned: str) -> ScenarioName:
    """Derive every spelling of a scenario from its versioned id."""
    plain, _, version = versioned.rpartition("-v")
    camel = "".join(word.capitalize() for word in plain.split("-"))
    return ScenarioName(
        plain, versioned, versioned.replace("-", "_"), f"superalign/{camel}-v{version}"
    )
