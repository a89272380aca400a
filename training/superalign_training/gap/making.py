"""Controllers by id: from plain values to checked objects, and back for the record.

Settings hold the controller as a field of the type `GapRule`: ``gap=adaptive`` or
``gap={id: fixed-large, steps: 3}`` on the command line becomes an object, and is written
into the record with all of its settings.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.gap.controller import GapController
from superalign_training.registered import make_registered, plain_registered

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
    made: GapController = make_registered(
        "gap", given, noun="controller", example="adaptive"
    )
    return made


def _read(reference: Any) -> GapController:
    try:
        return make_controller(reference)
    except UnknownId as error:
        raise ValueError(str(error)) from error  # pydantic names the key then


GapRule = Annotated[
    GapController,
    PlainValidator(_read),
    PlainSerializer(plain_registered, return_type=dict[str, Any]),
]
"""A controller, as a field of settings."""
