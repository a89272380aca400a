"""Fixed schedules: which levels they visit, and what they do after a rollback."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from superalign_env import registry
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.gap import GapController, GapRule, GenerationStats, make_controller
from superalign_training.gap.schedules import FixedLarge, growing
from superalign_training.sections import Section

PLANNED = ["direct", "fixed-small", "fixed-large", "linear", "reverse"]


def levels_of(
    rule: GapController,
    *,
    levels: int,
    generations: int,
    accepts: Callable[[int], bool] = lambda generation: True,
) -> list[int]:
    """Return the levels of a chain whose gate says yes to some generations."""
    sights: list[GenerationStats] = []
    for generation in range(1, generations + 1):
        level = rule.choose(sights, levels=levels, generations=generations)
        sights.append(GenerationStats(generation, level, accepted=accepts(generation)))
    return [sight.level for sight in sights]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("direct", [9, 9, 9, 9]),
        ("fixed-small", [0, 1, 2, 3]),
        ("fixed-large", [1, 3, 5, 7]),
        ("linear", [0, 2, 5, 9]),
        ("reverse", [3, 6, 8, 9]),
    ],
)
def test_a_schedule_visits_these_levels(name: str, expected: list[int]) -> None:
    assert levels_of(make_controller(name), levels=10, generations=4) == expected


def test_a_schedule_that_arrives_early_stays_at_the_top() -> None:
    assert levels_of(make_controller("fixed-small"), levels=2, generations=4) == [
        0,
        1,
        1,
        1,
    ]
    assert levels_of(FixedLarge(steps=3), levels=4, generations=3) == [2, 3, 3]


@given(st.integers(1, 40), st.integers(1, 40))
def test_growing_gaps_climb_the_whole_ladder_and_never_shrink(
    levels: int, more: int
) -> None:
    generations = min(levels, more)
    gaps = growing(levels, generations)
    assert len(gaps) == generations and sum(gaps) == levels and gaps[0] >= 1
    assert list(gaps) == sorted(gaps)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("direct", [7, 7, 7]),
        ("fixed-small", [0, 0, 1]),
        ({"id": "fixed-large", "steps": 4}, [3, 1, 5]),
        ("reverse", [3, 1, 4]),
    ],
)
def test_after_a_rollback_half_of_the_gap_is_tried(
    rule: object, expected: list[int]
) -> None:
    made = make_controller(rule)  # type: ignore[arg-type]
    visited = levels_of(made, levels=8, generations=3, accepts=lambda g: g != 1)
    assert visited == expected


def test_repeated_rollbacks_end_at_one_step() -> None:
    made = FixedLarge(steps=8)
    visited = levels_of(made, levels=8, generations=5, accepts=lambda g: False)
    assert visited == [7, 3, 1, 0, 0]


@pytest.mark.parametrize("name", PLANNED)
@given(data=st.data())
def test_every_choice_is_a_level_and_a_pure_function_of_the_history(
    name: str, data: st.DataObject
) -> None:
    levels = data.draw(st.integers(2, 12))
    generations = data.draw(st.integers(1, levels))
    sights = data.draw(
        st.lists(
            st.builds(
                GenerationStats, st.just(1), st.integers(0, levels - 1), st.booleans()
            ),
            max_size=2 * generations,
        )
    )
    made = make_controller(name)
    made.check(levels, generations)
    chosen = made.choose(sights, levels=levels, generations=generations)
    assert 0 <= chosen < levels
    again = make_controller(name).choose(
        tuple(sights), levels=levels, generations=generations
    )
    assert again == chosen


@pytest.mark.parametrize(
    ("rule", "levels", "generations", "advice"),
    [
        ({"id": "fixed-large", "steps": 5}, 4, 3, "lower gap.steps"),
        ("linear", 3, 4, "lower generations"),
        ("reverse", 3, 4, "add levels"),
        ("direct", 0, 3, "add to levels"),
        ("fixed-small", 3, 0, "raise generations"),
    ],
)
def test_a_contradiction_is_refused_with_advice(
    rule: object, levels: int, generations: int, advice: str
) -> None:
    with pytest.raises(InvalidOption, match=advice):
        make_controller(rule).check(levels, generations)  # type: ignore[arg-type]


class Holder(Section):
    gap: GapRule = make_controller("fixed-small")


def test_a_controller_survives_the_record() -> None:
    held = Holder.model_validate({"gap": {"id": "fixed-large", "steps": 3}})
    assert held.gap == FixedLarge(steps=3)
    assert held.model_dump(mode="json") == {"gap": {"id": "fixed-large", "steps": 3}}
    assert Holder.model_validate(held.model_dump(mode="json")) == held
    assert Holder.model_validate({"gap": "direct"}).gap.id == "direct"


def test_what_is_wrong_with_a_controller_is_said() -> None:
    with pytest.raises(UnknownId, match="did you mean linear"):
        make_controller("linera")
    with pytest.raises(InvalidOption, match=r"no setting 'step'.*did you mean steps"):
        make_controller({"id": "fixed-large", "step": 3})
    with pytest.raises(InvalidOption, match="names no controller"):
        make_controller({"steps": 3})
    with pytest.raises(InvalidOption, match="chooses no gap"):
        make_controller(7)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="did you mean"):
        Holder.model_validate({"gap": "linera"})


def test_every_registered_controller_says_its_id() -> None:
    names = registry.entries("gap")
    assert len(names) > 5
    for name in names:
        made = make_controller(name)
        assert made.id == name
        assert made.oracle is (name == "oracle")
