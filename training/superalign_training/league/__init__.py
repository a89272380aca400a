"""Checkpoints that play: archived, rated, and met again as opponents.

``members`` reads from the record who there is, ``cells`` and ``exams`` play what was not
played yet, ``matrix`` and ``standings`` say what it comes to, ``opponents`` seats old ones
in training.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superalign_training.league.league_exports import *  # noqa: F403 - all of it is meant


def __getattr__(name: str) -> Any:
    """Import what is exported when it is asked for: torch takes seconds."""
    return getattr(import_module("superalign_training.league.league_exports"), name)
