"""The probing rule: slow while labels are clean, fast where they never were."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.errors import InvalidOption
from superalign_training.gap import GenerationStats
from superalign_training.gap.adaptive import Probing, doubt

CLEAN = GenerationStats(1, 0, misfit=0.2, confidence=0.8)
NOISY = GenerationStats(1, 0, misfit=0.5, confidence=0.5)
RULE = Probing()


def after(*sights: GenerationStats, rule: Probing = RULE, generations: int = 4) -> int:
    return rule.choose(sights, levels=8, generations=generations)


def at(sight: GenerationStats, level: int, *, accepted: bool = True) -> GenerationStats:
    return msgspec.structs.replace(sight, level=level, accepted=accepted)


def test_the_lowest_level_is_probed_first() -> None:
    assert after() == 0


def test_clean_labels_are_climbed_one_level_at_a_time() -> None:
    assert doubt(CLEAN) < RULE.max_doubt < doubt(NOISY)
    assert after(CLEAN) == 1
    assert after(CLEAN, at(CLEAN, 1)) == 2
    assert after(CLEAN, rule=Probing(steps=2)) == 2


def test_labels_that_were_never_clean_are_climbed_in_equal_steps_to_the_top() -> None:
    assert after(NOISY) == 3
    assert after(NOISY, at(NOISY, 3)) == 5
    assert after(NOISY, at(NOISY, 3), at(NOISY, 5)) == 7


def test_where_climbing_made_labels_noisy_nobody_climbs_on() -> None:
    assert after(CLEAN, at(NOISY, 1)) == 1
    assert after(CLEAN, at(NOISY, 1), at(CLEAN, 1)) == 2


def test_labels_that_become_clean_on_the_way_are_climbed_slowly_from_there() -> None:
    assert after(NOISY, at(CLEAN, 3)) == 4


def test_a_rollback_halves_the_gap() -> None:
    assert after(NOISY, at(NOISY, 4, accepted=False)) == 2
    assert after(CLEAN, at(NOISY, 1, accepted=False)) == 1
    assert after(at(NOISY, 0, accepted=False)) == 0


@given(
    st.lists(st.builds(GenerationStats, st.just(1), st.integers(0, 7), st.booleans())),
    st.integers(1, 8),
)
def test_every_choice_is_a_level(sights: list[GenerationStats], generations: int) -> None:
    assert 0 <= after(*sights, generations=generations) < 8


def test_an_empty_ladder_is_refused() -> None:
    with pytest.raises(InvalidOption, match="add to levels"):
        RULE.check(0, 3)
