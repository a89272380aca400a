"""One table per kind: id → where the object lives, and one line about it.

Each package has a module-level ``PLUGINS`` mapping ``kind → id → (target, line)``. Ours
are known by name, others come by one entry point per package (``superalign.plugins``).
Nothing heavy is imported until `make`.
"""

import importlib
import importlib.util
import warnings
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from superalign_env.errors import DuplicateId, UnknownId, hint, nearest
from superalign_env.options import check_options

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
    """What all packages register, and which of them could not be used, and why."""

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
            warnings.warn(why, RuntimeWarning, stacklevel=2)
        else:
            for kind in unknown:
                why = _not_called(point.name, kind, table[kind], kinds)
                left_out.append(why)
                warnings.warn(why, RuntimeWarning, stacklevel=2)
    return _Known(merged, left_out)


def _not_called(
    package: str, kind: str, names: Iterable[str], kinds: Collection[str]
) -> str:
    """Return what to say of entries whose kind nothing calls."""
    said = hint(nearest(kind, kinds), kinds, listed="kinds")
    return (
        f"plug-in {package!r}: {', '.join(names)} of the kind {kind!r} is left out: nothing "
        f"calls things of that kind; {said}"
    )


def left_out() -> list[str]:
    """Return which plug-in packages, or parts of them, could not be used, in sentences."""
    return list(_known().left_out)


def _add(merged: dict[str, dict[str, Entry]], package: str, table: Table) -> None:
    """Add what a package registers, all of it or nothing."""
    found = [
        (kind, Entry(name, target, line, package))
        for kind, rows in table.items()
        for name, (target, line) in rows.items()
    ]
    for kind, new in found:
        known = merged.get(kind, {}).get(new.id)
        if known is not None:
            raise DuplicateId(
                f"{kind} {new.id!r} is registered by {known.package} as well; "
                "rename it or uninstall one of the packages"
            )
    for kind, new in found:
        merged.setdefault(kind, {})[new.id] = new


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
    known = _known().entries.get(kind, {})
    if name not in known:
        raise UnknownId(kind, name, known, also="; ".join(left_out()))
    return known[name]


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
