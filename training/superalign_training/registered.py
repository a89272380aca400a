"""From the id of something registered, or a mapping with one, to a checked object, and back.

Algorithms and gap controllers are written alike: ``ppo``, ``{id: ppo, clip: 0.1}``, or an
object that is made already. Most are pydantic sections; a plug-in may be any class.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from superalign_env import registry
from superalign_env.errors import InvalidOption, hint, nearest


def make_registered(kind: str, given: Mapping[str, Any], *, noun: str, example: str) -> Any:
    """Return the object that plain values describe.

    Args:
        kind: of the registry.
        given: its id and its settings.
        noun: what it is called in errors.
        example: an id, for errors.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    name = given.get("id")
    if not isinstance(name, str):
        raise InvalidOption(
            f"{dict(given)} names no {noun}; add its id, as in {{id: {example}}} (known: "
            f"{', '.join(registry.entries(kind))})"
        )
    found = registry.load(kind, name)
    try:
        if issubclass(found, BaseModel):
            return found.model_validate(given)
        return found(**{key: value for key, value in given.items() if key != "id"})
    except ValidationError as error:
        raise InvalidOption(f"{name}: {flaws(error, found)}") from error
    except TypeError as error:
        raise InvalidOption(f"{name}: {error}") from error


def plain_registered(made: Any) -> dict[str, Any]:
    """Return the plain values from which the same object is made again."""
    if isinstance(made, BaseModel):
        return made.model_dump(mode="json")
    return {"id": made.id}


def flaws(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return what is wrong, key by key: the value, and what is allowed.

    Args:
        error: from pydantic.
        kind: the class whose settings were read.
    """
    return "; ".join(_flaw(flaw, sorted(kind.model_fields)) for flaw in error.errors())


def _flaw(flaw: Any, known: list[str]) -> str:
    key = ".".join(map(str, flaw["loc"]))
    if flaw["type"] == "extra_forbidden":
        said = hint(nearest(key, known), known)
        return f"there is no setting {key!r} (={flaw['input']!r}); {said}"
    if not key:  # what fits only together
        return str(flaw["msg"]).removeprefix("Value error, ")
    return f"{key}={flaw['input']!r}: {flaw['msg']}"
