"""What libraries say while they are used by each other, kept from users."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging

_SMALL = 100_000_000
"""Bytes that are read or written in well under a second."""


@contextmanager
def deprecations_hidden() -> Iterator[None]:
    """Hide that peft and TRL still ask transformers by an older name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*_gradient_checkpointing.*", FutureWarning)
        yield


@contextmanager
def progress_hidden(weights: int) -> Iterator[None]:
    """Show no progress bar for a small model; large ones may take minutes.

    Args:
        weights: bytes to be read or written; 0 if that is not known.
    """
    silence = 0 < weights < _SMALL and logging.is_progress_bar_enabled()
    if silence:
        logging.disable_progress_bar()  # type: ignore[no-untyped-call] # theirs
    try:
        yield
    finally:
        if silence:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call] # theirs
