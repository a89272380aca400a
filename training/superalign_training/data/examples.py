"""Examples, preferences and unpaired preferences to learn from, and balanced sets of them.

Ids are recorded ones, or made by the policy's own tokenizer; nothing is tokenised twice.
Each names the sources of its judgement.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from superalign_env.seeding import generator


class Example(NamedTuple):
    """A prompt and the completion to learn (SFT)."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """End-of-sequence token included."""
    sources: tuple[str, ...] = ()
    """Whose judgement it is: ids of agents, annotators, or ``planted``."""
    confidence: float = 1.0
    """Confidence of the sources taken together, in [0, 1]."""


class Preference(NamedTuple):
    """A prompt, the chosen and the rejected completion (DPO, reward model)."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    """End-of-sequence token included."""
    rejected_ids: tuple[int, ...]
    """End-of-sequence token included."""
    sources: tuple[str, ...] = ()
    """Whose preference it is."""


class UnpairedPreference(NamedTuple):
    """A prompt, a completion and whether it is good (KTO's unpaired preference)."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """End-of-sequence token included."""
    good: bool
    sources: tuple[str, ...] = ()
    """Who rated it."""


ExampleT = TypeVar("ExampleT")


def balanced_pairs(pairs: Sequence[Preference], *, key: int) -> list[Preference]:
    """Return preferences in which each two completions win equally often against each other.

    Where most preferences choose the same completion whatever the prompt, the policy learns
    to say it everywhere. Completions that never win are left as they are.

    Args:
        pairs: in any order, which is kept.
        key: of the draw among those that are too many.
    """
    return _balanced(
        pairs,
        same=lambda pair: frozenset((pair.chosen_ids, pair.rejected_ids)),
        side=lambda pair: pair.chosen_ids,
        key=key,
    )


def balanced_unpaired(
    examples: Sequence[UnpairedPreference], *, key: int
) -> list[UnpairedPreference]:
    """Return as many good as bad examples of each completion that has both.

    Args:
        examples: in any order, which is kept.
        key: of the draw among those that are too many.
    """
    return _balanced(
        examples,
        same=lambda example: example.completion_ids,
        side=lambda example: example.good,
        key=key,
    )


def balanced_examples(examples: Sequence[Example], *, key: int) -> list[Example]:
    """Return examples in which no completion is more frequent than the second most frequent.

    Args:
        examples: in any order, which is kept.
        key: of the draw among those that are too many.
    """
    counts: dict[tuple[int, ...], int] = defaultdict(int)
    for example in examples:
        counts[example.completion_ids] += 1
    if len(counts) < 2:
        return list(examples)
    limit = sorted(counts.values())[-2]
    return _at_most(
        examples,
        {ids: limit for ids in counts},
        lambda example: example.completion_ids,
        key,
    )


def _balanced(
    examples: Sequence[ExampleT],
    *,
    same: Callable[[ExampleT], Hashable],
    side: Callable[[ExampleT], Hashable],
    key: int,
) -> list[ExampleT]:
    counts: dict[Hashable, dict[Hashable, int]] = defaultdict(lambda: defaultdict(int))
    for example in examples:
        counts[same(example)][side(example)] += 1
    limits = {
        (matter, chosen_side): min(sides.values()) if len(sides) > 1 else sides[chosen_side]
        for matter, sides in counts.items()
        for chosen_side in sides
    }
    return _at_most(examples, limits, lambda example: (same(example), side(example)), key)


def _at_most(
    examples: Sequence[ExampleT],
    limits: Mapping[Any, int],
    kind: Callable[[ExampleT], Hashable],
    key: int,
) -> list[ExampleT]:
    """Return a random part of the examples of every kind, in their order."""
    remaining = dict(limits)
    places = set()
    for place in generator(key).permutation(len(examples)).tolist():
        if remaining[kind(examples[place])] > 0:
            remaining[kind(examples[place])] -= 1
            places.add(place)
    return [examples[place] for place in sorted(places)]
