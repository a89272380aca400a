"""What goes wrong in learning from pay is said clearly, and spoils nothing."""

import math

import pytest
import torch

from superalign_env.errors import InvalidOption, OutOfMemory
from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.micro_batch import MicroBatch
from superalign_training.algorithms.policy_gradient import PolicyOptimizer
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.rloo import Rloo
from superalign_training.data import Live

ALGORITHMS = {
    "grpo": Grpo(steps=2, batch_size=4, num_generations=4, beta=0.0),
    "rloo": Rloo(steps=2, batch_size=4, num_generations=4, beta=0.0),
    "reinforce": Reinforce(steps=2, batch_size=8, num_generations=2, kl_coef=0.0),
    "ppo": Ppo(steps=2, batch_size=8, num_generations=2, kl_coef=0.0),
}
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


def same(before, after):
    return all(torch.equal(before[name], after[name]) for name in before)


def paying(play, change):
    """Play, but pay something else."""

    def other(first, count):
        return [change(row) for row in play(first, count)]

    return other


@every_algorithm
@pytest.mark.parametrize("pay", [math.nan, math.inf, -math.inf])
def test_pay_that_is_no_number_names_its_episode_and_moves_nothing(toys, name, pay):
    policy, algorithm = toys.small_policy(), ALGORITHMS[name]

    def spoil(row):
        broken = row.case == 1 and row.member == 1
        return row._replace(turn_rewards=(pay,), to_go=pay) if broken else row

    play = paying(toys.Bandit(policy, members=algorithm.num_generations), spoil)
    before, updates = policy.snapshot(), policy.updates
    with pytest.raises(InvalidOption, match=r"c1-m1 pays learner_0 -?(nan|inf)"):
        algorithm.improve(policy, Live(play), seed=1)
    after = policy.snapshot()
    assert same(before, after)
    assert policy.updates == updates
    assert not policy.model.training


@every_algorithm
def test_equal_pay_is_called_flat_and_moves_nothing(toys, name):
    policy, algorithm = toys.small_policy(), ALGORITHMS[name]
    play = paying(
        toys.Bandit(policy, members=algorithm.num_generations),
        lambda row: row._replace(turn_rewards=(0.7,), to_go=0.7),
    )
    before = policy.snapshot()
    numbers = algorithm.improve(policy, Live(play), seed=1)
    assert numbers["frac_reward_zero_std"] == 1.0
    assert all(math.isfinite(value) for value in numbers.values())
    after = policy.snapshot()
    assert same(before, after)


@pytest.mark.parametrize("name", ["reinforce", "ppo"])
def test_equal_pay_still_lets_divergence_draw_a_policy_back(toys, name):
    policy = toys.small_policy()
    start = {
        name: value.clone() for name, value in policy.reference_model().state_dict().items()
    }
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.add_(
                0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
            )
    algorithm = ALGORITHMS[name].model_copy(
        update={
            **toys.kl_weight(ALGORITHMS[name], 1.0),
            "ref_policy": "original",
            "steps": 15,
            "batch_size": 64,
            "learning_rate": 1e-2,
        }
    )
    play = paying(
        toys.Bandit(policy), lambda row: row._replace(turn_rewards=(0.7,), to_go=0.7)
    )
    divergences = []
    numbers = algorithm.improve(
        policy, Live(play), seed=1, on_step=lambda _, n: divergences.append(n["kl"])
    )
    assert numbers["frac_reward_zero_std"] == 1.0
    assert divergences[-1] < 0.5 * divergences[0]
    assert same(start, policy.reference_model().state_dict()), (
        "the anchor stays where it is"
    )


@every_algorithm
def test_rows_without_a_word_are_left_out(toys, name):
    policy, algorithm = toys.small_policy(), ALGORITHMS[name]

    def silence(row):
        if row.case % 2:
            return row
        return row._replace(completion_ids=(), env_mask=(), spans=((0, 0),), logprobs=())

    play = toys.Bandit(policy, members=algorithm.num_generations)
    numbers = algorithm.improve(policy, Live(paying(play, silence)), seed=1)
    assert all(math.isfinite(value) for value in numbers.values())
    with pytest.raises(InvalidOption, match="no turn to learn from"):
        algorithm.improve(
            policy,
            Live(paying(play, lambda row: row._replace(completion_ids=(), env_mask=()))),
            seed=1,
        )


@every_algorithm
def test_words_without_a_prompt_are_refused(toys, name):
    policy, algorithm = toys.small_policy(), ALGORITHMS[name]
    play = toys.Bandit(policy, members=algorithm.num_generations)
    with pytest.raises(InvalidOption, match="without a prompt; record prompt_ids"):
        algorithm.improve(
            policy, Live(paying(play, lambda row: row._replace(prompt_ids=()))), seed=1
        )


# --- memory


def cramp(monkeypatch, policy, rows):
    """Let more than so many rows run out of memory."""
    body = policy.model.base_model
    forward = type(body).forward

    def cramped(self, *args, **named):
        if len(named["input_ids"]) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(self, *args, **named)

    monkeypatch.setattr(type(body), "forward", cramped)


def one_update(toys, name, monkeypatch, *, room=None, micro_batch=None):
    """Improve a fresh policy once on rows that were played beforehand."""
    policy = toys.small_policy()
    algorithm = ALGORITHMS[name].model_copy(
        update={
            "steps": 1,
            **toys.kl_weight(ALGORITHMS[name], 0.1),
            "micro_batch_size": micro_batch,
        }
    )
    rows = toys.Delayed(policy, members=algorithm.num_generations)(0, algorithm.batch_size)
    with monkeypatch.context() as patch:
        if room is not None:
            cramp(patch, policy, room)
        algorithm.improve(policy, Live(lambda *_: rows), seed=1)
    return policy.snapshot()


@every_algorithm
def test_small_pieces_add_up_to_the_whole(toys, name, monkeypatch):
    whole = one_update(toys, name, monkeypatch)
    pieces = one_update(toys, name, monkeypatch, micro_batch=3)
    assert not same(toys.small_policy().snapshot(), whole)
    for weight in whole:
        torch.testing.assert_close(pieces[weight], whole[weight], atol=2e-5, rtol=1e-3)


@every_algorithm
def test_out_of_memory_halves_the_pieces_says_so_once_and_changes_nothing(
    toys, name, monkeypatch
):
    whole = one_update(toys, name, monkeypatch)
    with pytest.warns(RuntimeWarning, match="micro_batch_size=") as said:
        pieces = one_update(toys, name, monkeypatch, room=2)
    assert len([w for w in said if "micro_batch_size" in str(w.message)]) == 1
    for weight in whole:
        torch.testing.assert_close(pieces[weight], whole[weight], atol=2e-5, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*do not fit into memory")
@pytest.mark.parametrize("name", ["reinforce", "ppo"])
def test_pieces_that_fitted_before_memory_ran_out_count_once(toys, name, monkeypatch):
    whole = one_update(toys, name, monkeypatch)
    pieces, step = [], PolicyOptimizer.step

    def cramped_step(self, rows, loss):
        def cramped(places):
            pieces.append(len(places))
            if len(pieces) == 2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return loss(places)

        return step(self, rows, cramped)

    monkeypatch.setattr(PolicyOptimizer, "step", cramped_step)
    again = one_update(toys, name, monkeypatch, micro_batch=4)
    assert pieces[:3] == [4, 4, 2]
    for weight in whole:
        torch.testing.assert_close(again[weight], whole[weight], atol=2e-5, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*do not fit into memory")
@every_algorithm
def test_a_row_that_does_not_fit_alone_is_an_error_that_says_what_to_do(
    toys, name, monkeypatch
):
    with pytest.raises(OutOfMemory, match="single row"):
        one_update(toys, name, monkeypatch, room=0)


def test_work_that_was_half_done_is_undone_before_it_is_done_again():
    done, fits = [], 2

    def work(places):
        done.append(places.tolist())
        if len(places) > fits and len(done) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: …")
        return len(places)

    with pytest.warns(RuntimeWarning):
        assert MicroBatch(4).over(8, work, restart=done.clear) == [2, 2, 2, 2]
    assert done == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def work(places):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        MicroBatch().over(4, work)
