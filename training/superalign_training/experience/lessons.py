"""What a policy is shown instead of finding it out: words to say, to prefer, to judge by.

Ids are recorded ones, or made by the policy's own tokenizer; nothing is tokenised twice.
Every lesson names the sources of its judgement (architecture: every training row carries
its sources).
"""

from typing import NamedTuple


class Example(NamedTuple):
    """What a policy shall say where."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """End-of-sequence token included."""
    sources: tuple[str, ...] = ()
    """Who says so: ids of agents, annotators, or ``planted``."""
    confidence: float = 1.0
    """How sure the sources are, all in all, in [0, 1]."""


class Preference(NamedTuple):
    """Which of two things is better said where."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    """End-of-sequence token included."""
    rejected_ids: tuple[int, ...]
    """End-of-sequence token included."""
    sources: tuple[str, ...] = ()
    """Who prefers it."""


class Opinion(NamedTuple):
    """Whether something was well said, on its own."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """End-of-sequence token included."""
    good: bool
    sources: tuple[str, ...] = ()
    """Who thinks so."""
