"""Capacity and utility of a model, and how much of the gap was elicited.

Capacity C is what a model has learned and might show: the ceiling that gold labels teach
it, or its best of k answers. Utility U is what it shows on held-out tasks. Both are given as
per-item scores on the same items in the same order, so that intervals are those of
paired differences.
"""

from collections.abc import Sequence
from typing import NamedTuple

from superalign_env.measures.comparisons import Ratio, ratio
from superalign_env.measures.intervals import Estimate, difference, share

GUARD = 0.05
"""A ceiling that is not this much above the weak teacher leaves nothing to recover."""


class ImitationRate(NamedTuple):
    """Share of its teacher's errors that a student repeats, beside a gold-taught ceiling."""

    rate: Estimate
    """P(student says what the teacher says | the teacher is wrong); n is such items."""
    ceiling: Estimate
    """The same of a student that was taught gold labels: what agreement in error comes to
    where nothing was imitated. Rates are comparable only above it."""
    excess: Estimate
    """Their paired difference."""


def recovered(
    weak: float, student: float, ceiling: float, *, guard: float = GUARD
) -> float | None:
    """Return the performance gap recovered, (student − weak)/(ceiling − weak), of numbers.

    (Burns et al. 2023.) None where the ceiling is not more than the guard above the weak
    teacher: a ratio of noise says nothing, so none is given; report student − weak.

    Raises:
        ValueError: a guard that is not above zero.
    """
    if not guard > 0:
        raise ValueError(f"the guard is {guard}; it must be above zero")
    return (student - weak) / (ceiling - weak) if ceiling - weak > guard else None


def performance_gap_recovered(
    weak: Sequence[float],
    student: Sequence[float],
    ceiling: Sequence[float],
    *,
    guard: float = GUARD,
    resamples: int = 10_000,
    seed: int = 0,
) -> Ratio:
    """Return the performance gap recovered, with its interval, from items or seeds.

    Numerator and denominator are resampled together. The estimate is None unless the whole
    interval of the denominator lies above the guard.

    Args:
        weak: score of the weak teacher on each item (or seed), in one order for all three.
        student: of the student that it taught.
        ceiling: of the student that gold labels taught.
        guard: smallest difference of ceiling and weak that means anything.
        resamples: of the bootstrap.
        seed: of the bootstrap's draws.

    Raises:
        ValueError: items that are not paired, no items, or as `ratio`.
    """
    _check_paired(weak, student, ceiling)
    return ratio(
        [s - w for s, w in zip(student, weak, strict=True)],
        [c - w for c, w in zip(ceiling, weak, strict=True)],
        guard=guard,
        resamples=resamples,
        seed=seed,
    )


def imitation(
    student: Sequence[str],
    teacher: Sequence[str],
    right: Sequence[bool],
    *,
    ceiling: Sequence[str],
) -> ImitationRate | None:
    """Return the share of its teacher's errors that a student repeats.

    Args:
        student: [N] answers on held-out items, which it was not taught.
        teacher: [N] answers of its teacher, or what its teachers' answers came to.
        right: [N] whether the teacher is right.
        ceiling: [N] answers of the same model taught gold labels.

    Returns:
        None where the teacher is never wrong.

    Raises:
        ValueError: items that are not paired.
    """
    _check_paired(student, teacher, right, ceiling)
    wrong = [item for item, ok in enumerate(right) if not ok]
    if not wrong:
        return None
    repeats = [float(student[item] == teacher[item]) for item in wrong]
    by_chance = [float(ceiling[item] == teacher[item]) for item in wrong]
    return ImitationRate(
        share(sum(repeats), len(wrong)),
        share(sum(by_chance), len(wrong)),
        difference(repeats, by_chance),
    )


def elicitation_gap(capacity: Sequence[float], utility: Sequence[float]) -> Estimate:
    """Return the elicitation gap of one model, C(A) − U(A).

    Args:
        capacity: per-item scores of its ceiling.
        utility: its own, on the same items.

    Raises:
        ValueError: items that are not paired, or none.
    """
    return difference(capacity, utility)


def generation_gap(capacity: Sequence[float], utility: Sequence[float]) -> Estimate:
    """Return δ = C(A_{i+1}) − U(A_i⁺), in utility (Kim et al. 2025).

    The distance over which a generation is supervised: between what it could be and what
    its aligned predecessor is. `superalign_env.measures.elo` gives it in Elo.

    Args:
        capacity: per-item scores of the newer generation's ceiling.
        utility: of the older aligned generation, on the same items.

    Raises:
        ValueError: items that are not paired, or none.
    """
    return difference(capacity, utility)


def saliency(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Return the rise of held-out scores after a few steps on gold labels.

    A task is salient to a model that needs only a few: what rises was there already.

    Raises:
        ValueError: items that are not paired, or none.
    """
    return difference(after, before)


def _check_paired(*columns: Sequence[object]) -> None:
    if len({len(column) for column in columns}) > 1:
        raise ValueError(
            f"{', '.join(str(len(column)) for column in columns)} observations make no "
            "pairs; give each model's score on the same items in the same order"
        )
