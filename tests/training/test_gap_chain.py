"""The chain as an environment, and the model of a chain behind it."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from superalign_env.errors import InvalidOption
from superalign_env.seeding import generator
from superalign_training.gap import GenerationStats, make_controller
from superalign_training.gap.learned import SHARES, SIZE, ChainEnv, level_of, observe
from superalign_training.gap.surrogate import (
    Nature,
    Surrogate,
    draw_nature,
    raise_chain,
    rehearse,
)

PLAIN = Nature(
    levels=6,
    generations=3,
    following=True,
    hardness=0.5,
    slip=0.02,
    blind=(0.02, 0.3),
    limit=(0.01, 0.2, 1.0),
    copy=(0.3, 0.6),
    ambiguous=0.0,
    inherit=0.5,
    overfit=0.1,
    unsalient=0.05,
    voting=0.5,
    labels=40,
    margin=0.2,
)


def worth(nature: Nature, controller: str, seed: int = 0) -> float:
    return raise_chain(make_controller(controller), Surrogate(nature), seed=seed).worth


@pytest.mark.filterwarnings("ignore:.*render_modes.*:UserWarning")
def test_gymnasium_finds_nothing_to_complain_about() -> None:
    check_env(ChainEnv(Surrogate()), skip_render_check=True)


def test_a_chain_ends_after_its_generations_and_rewards_add_up_to_its_worth() -> None:
    env = ChainEnv(Surrogate(), rollback_cost=0.5)
    for seed in range(20):
        env.reset(seed=seed)
        before, total, refused, over, steps = env.model.worth(), 0.0, 0, False, 0
        while not over:
            _, reward, over, truncated, info = env.step(np.int64(steps % SHARES))
            total, steps = total + float(reward), steps + 1
            refused += not info["stats"].accepted
            assert not truncated
        assert steps == env.model.generations
        assert total == pytest.approx(env.model.worth() - before - 0.5 * refused)


def test_the_same_seed_is_the_same_chain() -> None:
    one, two = (
        raise_chain(make_controller("adaptive"), Surrogate(), seed=7) for _ in range(2)
    )
    other = raise_chain(make_controller("adaptive"), Surrogate(), seed=8)
    assert one == two != other


def test_a_negative_cost_is_refused() -> None:
    with pytest.raises(InvalidOption, match="rollback_cost"):
        ChainEnv(Surrogate(), rollback_cost=-1.0)


@given(st.data())
def test_observations_stay_within_bounds_and_actions_on_the_ladder(
    data: st.DataObject,
) -> None:
    levels = data.draw(st.integers(1, 12))
    share = st.floats(0, 1)
    sight = st.builds(
        GenerationStats,
        st.just(1),
        st.integers(0, levels - 1),
        st.booleans(),
        share,
        share,
        share,
        st.none() | share,
        st.integers(0, 500),
    )
    sights = data.draw(st.lists(sight, max_size=6))
    seen = observe(sights, levels=levels, generations=5)
    assert seen.shape == (SIZE,) and seen.dtype == np.float32
    assert ((seen >= 0) & (seen <= 1)).all()
    chosen = [level_of(action, sights, levels=levels) for action in range(SHARES)]
    assert chosen == sorted(chosen) and chosen[-1] == levels - 1 and chosen[0] >= 0


def test_the_observation_tells_the_newest_generations_apart() -> None:
    old, new = (
        GenerationStats(1, 0, disagreement=0.1),
        GenerationStats(2, 3, accepted=False, misfit=0.4),
    )
    base = observe([old], levels=6, generations=4)
    assert not np.array_equal(base, observe([], levels=6, generations=4))
    assert not np.array_equal(base, observe([old, new], levels=6, generations=4))


# --- the model of a chain has the effects that were measured


def test_a_direct_jump_copies_people_more_than_small_steps_do() -> None:
    copied = {}
    for name in ("direct", "fixed-small"):
        model = Surrogate(PLAIN._replace(labels=0, generations=6))
        raise_chain(make_controller(name), model, seed=0)
        copied[name] = model.sources[-1].blind
    assert copied["direct"] > 2 * copied["fixed-small"]


def test_a_direct_jump_wins_where_weak_generations_pass_their_errors_on() -> None:
    poor = PLAIN._replace(
        following=False, blind=(0.0, 0.02), inherit=0.95, limit=(0.01, 0.4, 1.0), labels=0
    )
    assert worth(poor, "direct") > worth(poor, "fixed-small") + 0.05


def test_small_steps_win_where_queries_follow_and_people_err_learnably() -> None:
    rich = PLAIN._replace(inherit=0.2, limit=(0.01, 0.05, 1.0), labels=0, generations=6)
    assert worth(rich, "fixed-small") > worth(rich, "direct") + 0.03


def test_a_generation_above_its_supervisors_gains() -> None:
    model = Surrogate(PLAIN._replace(labels=0))
    before = model.worth()
    assert model.play(5).accepted
    assert model.worth() > before


def test_where_nobody_is_asked_nothing_is_known_of_people() -> None:
    sight = Surrogate(PLAIN._replace(labels=0)).play(2)
    assert sight.human_agreement is None and sight.human_labels == 0
    assert sight.disagreement == 0  # a single source
    assert Surrogate(PLAIN).play(2).human_labels == 40


def test_the_gate_refuses_a_loss_of_human_agreement() -> None:
    model = Surrogate(PLAIN._replace(margin=0.05, labels=1000, following=False))
    model.play(5)
    model._agreed = 1.0
    assert not model.play(0).accepted
    assert len(model.sources) == 2


def test_natures_differ_and_every_ladder_is_long_enough() -> None:
    drawn = [draw_nature(generator(seed)) for seed in range(200)]
    assert len(set(drawn)) == 200
    assert all(nature.generations <= nature.levels for nature in drawn)
    assert {nature.following for nature in drawn} == {True, False}


def test_every_controller_can_be_rehearsed_on_the_same_chains() -> None:
    scores = {
        name: rehearse(make_controller(name), range(60)) for name in ("direct", "learned")
    }
    for score in scores.values():
        assert 0.5 < score.following < 1 and 0.5 < score.fixed < 1
        assert 0 <= score.rolled_back < 0.5
    assert scores["direct"] == rehearse(make_controller("direct"), range(60))
