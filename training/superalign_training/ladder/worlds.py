"""What a ladder is trained on and measured in."""

from typing import NamedTuple

from superalign_env.protocols import TaskSource
from superalign_training.ladder.batches import Documents


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
