"""What one source says of one item, and what all of them come to."""

from typing import NamedTuple


class Statement(NamedTuple):
    """One source's answer to one item."""

    item: str
    """Name of the item, such as the id of its episode."""
    source: str
    """Hash of an agent, name of a person."""
    answer: str
    confidence: float = 1.0
    """Probability, in its own eyes, of its answer, in [0, 1]."""


class Consensus(NamedTuple):
    """The label of one item."""

    item: str
    answer: str
    """In the words of the most trusted source that gave it."""
    confidence: float
    """In [0, 1], by the lights of the rule that combined."""
    sources: tuple[str, ...]
    """Who gave this answer, oldest first."""
