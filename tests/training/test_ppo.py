"""PPO: a value function says what was to be expected, and credit goes to the right turn."""

import pytest

from superalign_training.algorithms.ppo import Ppo
from superalign_training.experience import Live

QUICK = {"cases": 64, "rate": 1e-2, "kl": 0.0, "members": 1}


@pytest.mark.parametrize("gae", ["turn", "token"])
def test_a_bandit_is_learned(toys, gae):
    policy = toys.small_policy()
    numbers = Ppo(steps=10, gae=gae, **QUICK).improve(
        policy, Live(toys.Bandit(policy)), seed=1
    )
    assert numbers["reward_first"] < 0.7
    assert numbers["reward"] > 0.95
    assert not policy.model.training


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("gae", ["turn", "token"])
def test_pay_that_comes_a_turn_later_is_learned_in_one_row_and_in_two(toys, gae, split):
    policy = toys.small_policy()
    play = toys.Delayed(policy, split=split)
    numbers = Ppo(steps=16, gae=gae, **QUICK).improve(policy, Live(play), seed=1)
    assert numbers["reward_first"] < 0.5
    assert numbers["reward"] > 0.9
