"""The adaptive rule and the oracle: when gaps grow, shrink and stay."""

import inspect

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.errors import InvalidOption
from superalign_training.gap import GenerationStats, make_controller
from superalign_training.gap import adaptive as module
from superalign_training.gap.adaptive import Adaptive, Oracle, copied_errors, gain, noise

GOOD = GenerationStats(
    1,
    1,
    disagreement=0.1,
    misfit=0.1,
    confidence=0.9,
    human_agreement=0.85,
    human_labels=40,
)
RULE = Adaptive(first_share=0.2, growth_factor=2, min_gain=0)
MANY = 30
"""Generations: so many that one level each reaches the top."""
SEEN = st.builds(
    GenerationStats,
    generation=st.just(1),
    level=st.integers(0, 9),
    accepted=st.booleans(),
    disagreement=st.floats(0, 1),
    misfit=st.floats(0, 1),
    confidence=st.floats(0, 1),
    human_agreement=st.none() | st.floats(0, 1),
    human_labels=st.integers(0, 100),
)


def after(*sights: GenerationStats, rule: Adaptive = RULE, generations: int = MANY) -> int:
    return rule.choose(sights, levels=10, generations=generations)


def seen(**changes: object) -> GenerationStats:
    return msgspec.structs.replace(GOOD, **changes)


def test_the_first_gap_is_a_share_of_the_ladder() -> None:
    assert after() == 1
    assert after(rule=Adaptive(first_share=0)) == 0
    assert after(rule=Adaptive(first_share=1)) == 9


def test_clean_signals_and_a_gain_double_the_gap() -> None:
    assert after(GOOD) == 1 + 2
    assert after(GOOD, seen(level=3)) == 3 + 4


def test_a_loss_of_human_agreement_keeps_the_gap() -> None:
    worse = seen(level=3, human_agreement=0.72, human_labels=400)
    before = seen(human_labels=400)
    assert after(before, worse) == 3 + 2
    assert after(before, msgspec.structs.replace(worse, human_agreement=0.9)) == 3 + 4


def test_a_loss_that_few_labels_cannot_show_is_none() -> None:
    worse = seen(level=3, human_agreement=0.8, human_labels=10)
    assert after(seen(human_labels=10), worse) == 3 + 4


def test_noisy_sources_keep_the_gap_and_copied_errors_halve_it() -> None:
    noisy = seen(level=5, disagreement=0.6, misfit=0.4)
    assert noise(noisy) > RULE.max_noise and copied_errors(noisy) == 0
    assert after(GOOD, noisy) == 5 + 4
    copied = seen(level=5, disagreement=0.6, misfit=0.05)
    assert copied_errors(copied) > RULE.max_copied
    assert after(GOOD, copied) == 5 + 2


def test_people_who_disagree_with_the_next_supervisor_make_signals_noisy() -> None:
    assert after(seen(human_agreement=0.6)) == 1 + 1


def test_a_rollback_halves_the_gap_down_to_one_level() -> None:
    failed = seen(level=5, accepted=False)
    assert after(GOOD, failed) == 1 + 2
    assert after(GOOD, failed, seen(level=3, accepted=False)) == 1 + 1
    assert after(GOOD, failed, failed, seen(level=2, accepted=False)) == 1 + 1
    assert after(seen(level=1, accepted=False)) == 0


def test_without_people_confident_misfit_is_the_gain() -> None:
    alone = seen(human_agreement=None, human_labels=0)
    assert gain(alone, None, margin=1.0) == pytest.approx(0.09)
    strict = Adaptive(growth_factor=2, min_gain=0.05)
    assert after(alone, rule=strict) == 1 + 2
    assert after(seen(human_agreement=None, misfit=0.0), rule=strict) == 1 + 1


def test_a_clean_chain_arrives_in_time_and_a_noisy_one_does_not_hurry() -> None:
    hurried = Adaptive(growth_factor=1.0)
    assert after(GOOD, rule=hurried, generations=2) == 9
    assert after(GOOD, rule=hurried, generations=3) == 1 + 4
    assert after(seen(disagreement=0.6, misfit=0.4), rule=hurried, generations=2) == 1 + 1


@given(st.lists(SEEN, max_size=6), st.integers(1, 10), st.integers(1, 8))
def test_every_choice_is_a_level_above_the_last_or_the_top(
    sights: list[GenerationStats], levels: int, generations: int
) -> None:
    sights = [msgspec.structs.replace(s, level=min(s.level, levels - 1)) for s in sights]
    chosen = Adaptive().choose(sights, levels=levels, generations=generations)
    assert 0 <= chosen < levels
    accepted = [s.level for s in sights if s.accepted]
    assert chosen > (accepted[-1] if accepted else -1) or chosen == levels - 1


def test_the_adaptive_rule_reads_nothing_but_sights() -> None:
    imported = [
        line
        for line in inspect.getsource(module).splitlines()
        if line.startswith("from super")
    ]
    assert imported
    assert all(
        "gap." in line or "sections" in line or "errors" in line for line in imported
    )
    assert not any("gold" in field for field in GenerationStats.__struct_fields__)


def test_the_oracle_takes_the_highest_level_within_reach() -> None:
    oracle = Oracle(capacities=(0.6, 0.7, 0.8, 0.95), utilities=(0.55,), max_gap=0.2)
    oracle.check(4, 3)
    first = oracle.choose([], levels=4, generations=3)
    assert first == 1
    one = GenerationStats(1, 1)
    assert oracle.choose([one], levels=4, generations=3) == 2  # U(A_1) taken as 0.7
    assert oracle.informed([0.55, 0.8]).choose([one], levels=4, generations=3) == 3
    assert oracle.informed([0.55, 0.5]).choose([one], levels=4, generations=3) == 2
    failed = GenerationStats(1, 1, accepted=False)
    assert oracle.choose([failed], levels=4, generations=3) == 0


def test_an_oracle_that_was_told_nothing_is_refused() -> None:
    with pytest.raises(InvalidOption, match="gold capacity of each of the 4 levels"):
        make_controller("oracle").check(4, 3)
    assert make_controller("oracle").oracle
