"""The learning experiment: everyone starts alike, and samples as many tokens."""

import pytest

from superalign_training.algorithms.algorithm import make_algorithm
from superalign_training.experiments.engine.experiment import CellContext
from superalign_training.experiments.engine.results import flat
from superalign_training.experiments.learning import (
    CONDITIONS,
    EXPERIMENT,
    cell,
    reduce,
)
from superalign_training.experiments.learning.improving import (
    algorithm_of,
    fraction_of_optimum,
    greedy,
    make_start,
    random_moves,
)
from superalign_training.policy import Policy

TINY = {
    "rung": 0,
    "games": 8,
    "courses": [[2, 1e-2]],
    "plays": 32,
    "rounds": 2,
    "exam": 6,
}
SMALL = {
    "ppo": {"batch_size": 8},
    "ppo-token": {"batch_size": 8},
    "grpo": {"batch_size": 4, "num_generations": 2},
    "rloo": {"batch_size": 4, "num_generations": 2},
    "sb3": {"copies": 8, "n_steps": 8, "batch_size": 64},
}


def tiny(name):
    given = CONDITIONS[name]
    return {**given, **TINY, "algorithm": {**given["algorithm"], **SMALL[name]}}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    root = tmp_path_factory.mktemp("learning")
    return {
        name: {
            seed: cell(tiny(name), seed, CellContext(root, f"{name}-{seed}", scope="test"))
            for seed in (0, 1)
        }
        for name in SMALL
    }


def test_all_conditions_start_from_the_same_weights_of_the_seed(outcomes):
    by_seed = [{cells[seed]["weights"] for cells in outcomes.values()} for seed in (0, 1)]
    assert [len(weights) for weights in by_seed] == [1, 1]
    assert by_seed[0] != by_seed[1]
    assert reduce(outcomes).figures["same_start"] is True
    starts = [
        {cells[seed]["curve"][0][1] for cells in outcomes.values()} for seed in (0, 1)
    ]
    assert [len(values) for values in starts] == [1, 1]


def test_all_conditions_play_as_often_and_are_looked_at_as_often(outcomes):
    assert outcomes.keys() == SMALL.keys()
    for name, cells in outcomes.items():
        for values in cells.values():
            # An utterance that ends at once is one token instead of two.
            assert 200 < values["tokens"] <= 256, name
            assert [x for x, _ in values["curve"]] == [0, 16, 32]
            assert values["fraction"] == values["curve"][-1][1]
    assert all(values["tokens"] == 256 for values in outcomes["sb3"].values())


def test_every_promised_figure_is_there(outcomes):
    figures = flat(reduce(outcomes).figures)
    for name in ("ppo", "ppo_token", "grpo", "rloo", "sb3"):
        whole = f"{name}_fraction_of_optimum"
        assert figures[f"{whole}_low"] <= figures[whole] <= figures[f"{whole}_high"]
    assert 0.0 < figures["myopic_fraction"] < 0.5
    assert 0.0 < figures["random_fraction"] < 0.5
    assert figures["seeds"] == 2


def test_the_same_cell_again_is_the_same(outcomes, tmp_path):
    again = cell(tiny("ppo"), 0, CellContext(tmp_path, "again", scope="test"))
    assert again == outcomes["ppo"][0]


def test_the_seeds_of_the_claim_are_five_and_nobody_saw_them():
    assert EXPERIMENT.seeds.claim == (220, 221, 222, 223, 224)
    assert set(EXPERIMENT.seeds.spent) == {*range(200, 205), *range(210, 215)}


def test_an_algorithm_plays_all_plays_while_its_rate_falls_to_nothing():
    for name, updates in (("ppo", 480), ("grpo", 120), ("rloo", 120)):
        made = make_algorithm(algorithm_of(CONDITIONS[name]))
        rollout = made.batch_size * made.num_generations
        assert 12 * made.steps * rollout == CONDITIONS[name]["plays"] == 7680
        schedule = made.lr_schedule
        assert schedule.steps == updates
        assert schedule.factor(updates - 1) > 0.0 == schedule.factor(updates)


def test_a_killed_cell_goes_on_with_the_run_that_it_left(outcomes, tmp_path):
    class Stopped(Exception): ...

    def stop(share):
        if share > 0.5:
            raise Stopped

    with pytest.raises(Stopped):
        cell(tiny("grpo"), 0, CellContext(tmp_path, "grpo", scope="test", on_progress=stop))
    again = cell(tiny("grpo"), 0, CellContext(tmp_path, "grpo", scope="test"))
    assert again == outcomes["grpo"][0]


def test_the_warm_start_says_each_legal_word_and_keeps_no_moments(toys, tmp_path):
    policy = toys.small_policy()
    examples = random_moves(policy, 30, seed=0)
    said = [
        policy.tokenizer.decode(e.completion_ids, skip_special_tokens=True)
        for e in examples
    ]
    assert len(examples) == 120
    assert {"snack", "open", "skip", "rope"} <= {word.strip() for word in said}
    make_start(tmp_path, rung=0, games=4, courses=[(1, 1e-3)], seed=6)
    start = Policy.load(tmp_path / "policy")
    assert start.reference == "micro/0@1"
    assert not start.optimizer(1e-3).state
    assert 0.0 <= fraction_of_optimum(greedy(start.agent), 4) <= 1.0
