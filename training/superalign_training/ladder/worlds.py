"""What a ladder is trained on and measured in."""

from typing import Any, NamedTuple

from superalign_env import registry
from superalign_env.protocols import TaskSource
from superalign_training.ladder.batches import Documents

DEFAULT_WORLD = "microworld"
"""That of the ladder that ships."""


class World(NamedTuple):
    """A world as the ladder needs it."""

    version: str
    """Of language and rules; recorded on every rung."""
    words: tuple[str, ...]
    special: tuple[str, ...]
    """Role markers, each one token."""
    good: tuple[str, ...]
    """Words of good outcomes."""
    bad: tuple[str, ...]
    """Words of bad outcomes."""
    documents: Documents
    """Pre-training text: (seed, n) → n documents."""
    source: TaskSource
    """Whose held-out tasks measure capability."""
    settings: str
    """Content hash of a sample of the text: another hash, other text."""
    tasks: int = 300
    """How many held-out tasks measure each family and tier, and how many moves a role."""


def make_world(name: str = DEFAULT_WORLD, **options: Any) -> World:
    """Return a registered world (kind ``world``).

    Args:
        name: its id.
        **options: ``focus``, a kind of document that more than half of the text shall be,
            and ``tasks``, how many held-out tasks measure each family and tier.

    Raises:
        UnknownId: no world is called so; names the nearest ids.
        InvalidOption: an option that it does not know.
    """
    made: World = registry.make("world", name, **options)
    return made
