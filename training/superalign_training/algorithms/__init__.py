"""Algorithms that train policies: one file for each.

What an algorithm of your own needs is imported from here. Nothing else imports trl.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superalign_training.algorithms.algorithms_exports import *  # noqa: F403 - all of it is meant


def __getattr__(name: str) -> Any:
    """Import what is exported when it is asked for: torch takes seconds."""
    return getattr(import_module("superalign_training.algorithms.algorithms_exports"), name)
