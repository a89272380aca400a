"""Worlds of a ladder: pre-training text and held-out tasks (registry kind ``world``)."""

from typing import Any, NamedTuple

from superalign_env import registry
from superalign_env.protocols import TaskSource
from superalign_training.ladder.pretrain import Documents

DEFAULT_WORLD = "microworld"
"""World of the ladder that ships."""


class World(NamedTuple):
    """Text, vocabulary and tasks of a ladder."""

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
    """Number of held-out tasks for each family and tier, and of moves for each role."""


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
    world: World = registry.make("world", name, **options)
    return world
