"""Task sources by id and options."""

from collections.abc import Mapping
from typing import Any

from superalign_env import registry
from superalign_env.errors import InvalidOption
from superalign_env.protocols import TaskSource

SourceSpec = str | Mapping[str, Any] | TaskSource
"""``"microworld"``, ``{"id": "rows", "path": …}``, or a source that is made already."""


def make_source(spec: SourceSpec) -> TaskSource:
    """Return a task source.

    Raises:
        UnknownId: with the nearest ids.
        InvalidOption: an option that the source does not know.
    """
    if isinstance(spec, str):
        spec = {"id": spec}
    if not isinstance(spec, Mapping):
        if not callable(getattr(spec, "draw", None)):
            raise InvalidOption(
                f"a source is an id, a mapping with an id, or an object with draw(); not {spec!r}"
            )
        return spec
    options = dict(spec)
    name = options.pop("id", None)
    if not isinstance(name, str):
        raise InvalidOption(
            f"a source needs an id: {{'id': 'microworld', …}}, not {spec!r}"
        )
    try:
        source: TaskSource = registry.make("source", name, **options)
    except TypeError as error:
        raise InvalidOption(f"source {name}: {error}") from error
    return source


def recorded(spec: SourceSpec) -> Any:
    """Return the recorded form of a spec: enough to make it again, where possible."""
    if isinstance(spec, str):
        return {"id": spec}
    if isinstance(spec, Mapping):
        return {key: list(v) if isinstance(v, tuple) else v for key, v in spec.items()}
    return {"made": spec.id}
