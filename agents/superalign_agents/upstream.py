"""What one library of the stack says about another's use of it, kept from users."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deprecations_hidden() -> Iterator[None]:
    """Hide that peft and TRL still ask transformers by an older name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*_gradient_checkpointing.*", FutureWarning)
        yield
