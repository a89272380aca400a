"""Policies: causal LMs in training, whole or as LoRA adapters, and their checkpoints."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superalign_training.policy.policy_exports import *  # noqa: F403 - all of it is meant


def __getattr__(name: str) -> Any:
    """Import what is exported when it is asked for: torch takes seconds."""
    return getattr(import_module("superalign_training.policy.policy_exports"), name)
