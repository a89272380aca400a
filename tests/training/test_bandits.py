"""Every algorithm that learns from pay finds the best moves, though pay comes a turn late."""

import pytest

from superalign_training.algorithms.grpo import Grpo
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.algorithms.rloo import Rloo
from superalign_training.data import Live

FAST = {"learning_rate": 2e-2}
ALGORITHMS = {
    "grpo": Grpo(steps=40, batch_size=16, num_generations=4, beta=0.0, **FAST),
    "rloo": Rloo(steps=40, batch_size=16, num_generations=4, beta=0.0, **FAST),
    "reinforce": Reinforce(steps=30, batch_size=64, kl_coef=0.0, **FAST),
    "ppo by turns": Ppo(steps=8, batch_size=64, gae_level="turn", kl_coef=0.0, **FAST),
    "ppo by tokens": Ppo(steps=8, batch_size=64, gae_level="token", kl_coef=0.0, **FAST),
}


def learned(policy, algorithm, play):
    seen = []
    numbers = algorithm.improve(
        policy,
        Live(play),
        seed=1,
        on_step=lambda _, numbers: seen.append(numbers["reward"]),
    )
    assert len(seen) == algorithm.steps
    assert numbers["reward_first"] == pytest.approx(
        sum(seen[: (n := max(1, len(seen) // 10))]) / n
    )
    assert not policy.model.training
    return numbers["reward_first"], numbers["reward"]


@pytest.mark.parametrize("split", [False, True], ids=["one row", "a row for every turn"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_pay_that_comes_a_turn_later_is_learned_from(toys, name, split):
    policy, algorithm = toys.small_policy(), ALGORITHMS[name]
    play = toys.Delayed(policy, members=algorithm.num_generations, split=split)
    before, after = learned(policy, algorithm, play)
    assert before < 0.5
    assert after > 0.8
