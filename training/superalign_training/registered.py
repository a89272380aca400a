"""Checked objects from ids or mappings of the registry, and back.

Algorithms and gap controllers are written alike: ``ppo``, ``{id: ppo, clip_range: 0.1}``, or an
object that is made already. Most are pydantic sections; a plug-in may be any class.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from superalign_env import registry
from superalign_env.errors import InvalidOption, hint, nearest
from superalign_training.sections import expected


def make_registered(
    kind: str, values: Mapping[str, Any], *, noun: str, example: str
) -> Any:
    """Return the object that plain values describe.

    Args:
        kind: of the registry.
        values: its id, or ``module:Class`` of one that is not registered, and its settings.
        noun: what it is called in errors.
        example: an id, for errors.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    name = values.get("id")
    if not isinstance(name, str):
        raise InvalidOption(
            f"{dict(values)} names no {noun}; add its id, as in {{id: {example}}} (known: "
            f"{', '.join(registry.entries(kind))})"
        )
    target = _imported(name) if ":" in name else registry.load(kind, name)
    settings = {key: value for key, value in values.items() if key != "id"}
    try:
        if issubclass(target, BaseModel):
            return target.model_validate(settings if ":" in name else values)
        return target(**settings)
    except ValidationError as error:
        raise InvalidOption(f"{name}: {flaws(error, target)}") from error
    except TypeError as error:
        raise InvalidOption(f"{name}: {error}") from error


def plain_registered(registered: Any, kind: str = "") -> dict[str, Any]:
    """Return the plain values from which the same object is made again.

    Args:
        registered: the object.
        kind: of the registry; where its id names nothing of that kind, or another class,
            the id that is returned is ``module:Class``.
    """
    plain = (
        registered.model_dump(mode="json")
        if isinstance(registered, BaseModel)
        else {"id": registered.id}
    )
    if kind and not _is_registered(kind, registered):
        plain["id"] = f"{type(registered).__module__}:{type(registered).__qualname__}"
    return plain


def _is_registered(kind: str, instance: Any) -> bool:
    registered = instance.id in registry.entries(kind)
    return registered and registry.load(kind, instance.id) is type(instance)


def _imported(name: str) -> type[Any]:
    """Return the class ``module:Class``."""
    module, _, attribute = name.partition(":")
    try:
        target = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidOption(
            f"{name} cannot be imported ({error}); it is read as module:Class, where the "
            "module has to be importable (installed, or on PYTHONPATH)"
        ) from error
    if not isinstance(target, type):
        raise InvalidOption(f"{name} is no class; name one, as in my_package.a2c:A2c")
    return target


def flaws(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return the errors of a validation by key: the value, and what is allowed.

    Args:
        error: from pydantic.
        kind: the class whose settings were read.
    """
    return "; ".join(_flaw(flaw, sorted(kind.model_fields)) for flaw in error.errors())


def _flaw(flaw: Any, settings: list[str]) -> str:
    key = ".".join(map(str, flaw["loc"]))
    if flaw["type"] == "extra_forbidden":
        suggestion = hint(nearest(key, settings), settings)
        return f"there is no setting {key!r} (={flaw['input']!r}); {suggestion}"
    # Without a key: what fits only together.
    return f"{key}={flaw['input']!r}: {expected(flaw)}" if key else expected(flaw)
