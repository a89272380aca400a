"""Lessons without a habit in them.

If most lessons prefer one and the same answer, whatever was asked, saying it everywhere is
what is learned first. Opposite lessons are therefore taken equally often, and what is left
to learn is when to say what. Words that occur in one direction alone (nonsense that nobody
ever prefers) stay as they are.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

from superalign_env.seeding import generator
from superalign_training.experience.lessons import Example, Opinion, Preference

LessonT = TypeVar("LessonT")


def even_pairs(pairs: Sequence[Preference], *, key: int) -> list[Preference]:
    """Return as many pairs that prefer one answer to another as the other way round.

    Args:
        pairs: in any order, which is kept.
        key: of the draw among those that are too many.
    """
    return _even(
        pairs,
        same=lambda pair: frozenset((pair.chosen_ids, pair.rejected_ids)),
        side=lambda pair: pair.chosen_ids,
        key=key,
    )


def even_opinions(heard: Sequence[Opinion], *, key: int) -> list[Opinion]:
    """Return as many good as bad opinions of each answer of which there are both.

    Args:
        heard: in any order, which is kept.
        key: of the draw among those that are too many.
    """
    return _even(
        heard, same=lambda one: one.completion_ids, side=lambda one: one.good, key=key
    )


def even_examples(shown: Sequence[Example], *, key: int) -> list[Example]:
    """Return no answer more often than the one that is second in number.

    Args:
        shown: in any order, which is kept.
        key: of the draw among those that are too many.
    """
    counts: dict[tuple[int, ...], int] = defaultdict(int)
    for one in shown:
        counts[one.completion_ids] += 1
    if len(counts) < 2:
        return list(shown)
    most = sorted(counts.values())[-2]
    return _at_most(
        shown, {ids: most for ids in counts}, lambda one: one.completion_ids, key
    )


def _even(
    lessons: Sequence[LessonT],
    *,
    same: Callable[[LessonT], Hashable],
    side: Callable[[LessonT], Hashable],
    key: int,
) -> list[LessonT]:
    counts: dict[Hashable, dict[Hashable, int]] = defaultdict(lambda: defaultdict(int))
    for lesson in lessons:
        counts[same(lesson)][side(lesson)] += 1
    most = {
        (matter, one): min(sides.values()) if len(sides) > 1 else sides[one]
        for matter, sides in counts.items()
        for one in sides
    }
    return _at_most(lessons, most, lambda lesson: (same(lesson), side(lesson)), key)


def _at_most(
    lessons: Sequence[LessonT],
    most: Mapping[Any, int],
    kind: Callable[[LessonT], Hashable],
    key: int,
) -> list[LessonT]:
    """Return a random part of the lessons of every kind, in their order."""
    left = dict(most)
    kept = set()
    for place in generator(key).permutation(len(lessons)).tolist():
        if left[kind(lessons[place])] > 0:
            left[kind(lessons[place])] -= 1
            kept.add(place)
    return [lessons[place] for place in sorted(kept)]
