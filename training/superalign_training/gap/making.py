"""Controllers by id: from plain values to checked objects, and back for the record.

Settings hold the controller as a field of the type `GapRule`: ``gap=adaptive`` or
``gap={id: fixed-large, steps: 3}`` on the command line becomes an object, and is written
into the record with all of its settings.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, PlainSerializer, PlainValidator, ValidationError

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.algorithms.making import flaws
from superalign_training.gap.controller import GapController

GapReference = str | Mapping[str, Any] | GapController
"""``adaptive``, ``{id: fixed-large, steps: 3}``, or a controller that is made already."""


def make_controller(reference: GapReference) -> GapController:
    """Return a checked controller.

    Args:
        reference: an id, a mapping with an id, or a controller, which is returned as is.

    Raises:
        UnknownId: nothing is called so; names the nearest ids.
        InvalidOption: names every wrong key, its value and what is allowed.
    """
    if not isinstance(reference, (str, Mapping)):
        if callable(getattr(reference, "choose", None)):
            return reference
        raise InvalidOption(f"{reference!r} chooses no gap; give an id or {{id: …}}")
    given = {"id": reference} if isinstance(reference, str) else dict(reference)
    name = given.get("id")
    if not isinstance(name, str):
        raise InvalidOption(
            f"{given} names no controller; add its id, as in {{id: adaptive}} (known: "
            f"{', '.join(registry.entries('gap'))})"
        )
    kind = registry.load("gap", name)
    try:
        made: GapController = (
            kind.model_validate(given)
            if issubclass(kind, BaseModel)
            else kind(**{key: value for key, value in given.items() if key != "id"})
        )
    except ValidationError as error:
        raise InvalidOption(f"{name}: {flaws(error, kind)}") from error
    except TypeError as error:
        raise InvalidOption(f"{name}: {error}") from error
    return made


def plain_controller(controller: GapController) -> dict[str, Any]:
    """Return the plain values from which `make_controller` makes the same controller."""
    if isinstance(controller, BaseModel):
        return controller.model_dump(mode="json")
    return {"id": controller.id}


def _read(reference: Any) -> GapController:
    try:
        return make_controller(reference)
    except UnknownId as error:
        raise ValueError(str(error)) from error  # pydantic names the key then


GapRule = Annotated[
    GapController,
    PlainValidator(_read),
    PlainSerializer(plain_controller, return_type=dict[str, Any]),
]
"""A controller, as a field of settings."""
