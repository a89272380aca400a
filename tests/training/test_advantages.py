"""Advantages against independent references in float64, written here and nowhere else."""

import numpy as np
import pytest

from superalign_training.algorithms.advantages import (
    by_turn,
    gae,
    gae_of_rows,
    group_relative,
    importance_weighted,
    leave_one_out,
    log_ratios,
    trajectories,
    truncated_weights,
)
from superalign_training.algorithms.reinforce_update import above_baseline, update_baselines
from superalign_training.policy.baselines import Baselines

RNG = np.random.default_rng(11)


def gae_by_definition(rewards, values, gamma, lam):
    """Sum the weighted TD errors of equation 16, forwards, one decision at a time."""
    after = np.append(values[1:], 0.0)
    surprise = rewards + gamma * after - values
    n = len(rewards)
    return np.array(
        [sum((gamma * lam) ** k * surprise[t + k] for k in range(n - t)) for t in range(n)]
    )


def vtrace_by_definition(rewards, values, gamma, lam, ratios, cap):
    """Equation 1 of the V-trace paper as a double sum, and its policy-gradient advantage."""
    rho, c = np.minimum(cap, ratios), lam * np.minimum(1.0, ratios)
    after = np.append(values[1:], 0.0)
    n = len(rewards)
    targets = np.empty(n)
    for t in range(n):
        targets[t] = values[t]
        for k in range(t, n):
            surprise = rewards[k] + gamma * after[k] - values[k]
            targets[t] += gamma ** (k - t) * np.prod(c[t:k]) * rho[k] * surprise
    corrected = np.append((targets - values)[1:], 0.0)
    advantages = rho * (rewards + gamma * after - values + gamma * lam * corrected)
    return advantages, targets


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.5), (0.99, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("n", [1, 2, 7])
def test_gae_is_the_weighted_sum_of_deltas(gamma, lam, n):
    rewards, values = RNG.normal(size=n), RNG.normal(size=n)
    advantages, targets = gae(list(rewards), list(values), gamma=gamma, gae_lambda=lam)
    expected = gae_by_definition(rewards, values, gamma, lam)
    np.testing.assert_allclose(advantages, expected, atol=1e-12)
    np.testing.assert_allclose(targets, expected + values, atol=1e-12)


@pytest.mark.parametrize("cap", [0.5, 1.0, 2.0])
def test_decisions_of_other_weights_are_corrected_as_in_v_trace(cap):
    rewards, values = RNG.normal(size=6), RNG.normal(size=6)
    ratios = np.exp(RNG.normal(size=6))
    found = gae(
        list(rewards), list(values), gamma=0.9, gae_lambda=0.8, ratios=list(ratios), cap=cap
    )
    expected = vtrace_by_definition(rewards, values, 0.9, 0.8, ratios, cap)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_ratios_of_one_change_nothing():
    rewards, values = [0.0, 1.0, -2.0], [0.3, 0.1, 0.2]
    plain = gae(rewards, values, gamma=0.9, gae_lambda=0.7)
    assert plain == gae(
        rewards, values, gamma=0.9, gae_lambda=0.7, ratios=[1.0] * 3, cap=1.0
    )


def test_group_advantages_are_standard_scores():
    pay = RNG.normal(size=8)
    np.testing.assert_allclose(
        group_relative(list(pay)), (pay - pay.mean()) / (pay.std(ddof=1) + 1e-4), atol=1e-12
    )
    np.testing.assert_allclose(
        group_relative(list(pay), scaled=False), pay - pay.mean(), atol=1e-12
    )


def test_leaving_one_out_compares_with_the_others_alone():
    pay = RNG.normal(size=5)
    expected = [pay[i] - np.delete(pay, i).mean() for i in range(5)]
    np.testing.assert_allclose(leave_one_out(list(pay)), expected, atol=1e-12)


@pytest.mark.parametrize("score", [group_relative, leave_one_out])
def test_equal_pay_and_lonely_pay_have_no_advantage(score):
    assert score([0.1, 0.1, 0.1]) == pytest.approx([0.0, 0.0, 0.0], abs=1e-15)
    assert score([3.0]) == [0.0]


def test_weights_are_cut_off_however_large_they_would_be():
    logs = np.array([-2.0, 0.0, 0.5, 1.0, 5000.0])
    expected = np.exp(np.minimum(logs, np.log(2.0)))
    np.testing.assert_allclose(truncated_weights(list(logs), 2.0), expected, rtol=1e-12)


class Said:
    """Some tokens, as a decoder gives them."""

    def __init__(self, *ids, logprobs=None):
        self.token_ids = ids
        self.logprobs = tuple(logprobs or [-0.5] * len(ids))


@pytest.fixture
def episodes(toys):
    """The same two episodes of three turns, in one row each and in a row for every turn."""
    said = [Said(1, 2), Said(3), Said(4, 5, 6)]
    pay = {0: [0.1, 0.0, 1.0], 1: [0.0, -0.4, 0.0]}
    whole = [toys.row(case, 0, said=said, pay=pay[case]) for case in pay]
    cut = [
        row for case in pay for row in toys.split_rows(case, 0, said=said, pay=pay[case])
    ]
    return whole, cut, pay


@pytest.mark.parametrize("level", ["turn", "token"])
def test_credit_flows_across_the_rows_of_an_episode_as_within_one(episodes, level):
    whole, cut, pay = episodes
    values = {0: RNG.normal(size=6), 1: RNG.normal(size=6)}  # one for each own token
    lengths = [2, 1, 3]
    starts = np.cumsum([0, *lengths[:-1]])

    def laid_out(row, own):
        """Put the values of own tokens where they belong in a row's completion."""
        numbers = np.full(len(row.completion_ids), 99.0)
        numbers[np.array(row.env_mask, bool)] = own
        return list(numbers)

    in_one = [laid_out(row, values[row.case]) for row in whole]
    turns = [slice(s, s + n) for s, n in zip(starts, lengths, strict=True)]
    in_three = [laid_out(row, values[row.case][turns[row.turns[0]]]) for row in cut]
    shuffled = [4, 0, 5, 2, 1, 3]
    options = {"level": level, "gamma": 0.9, "gae_lambda": 0.8}
    one = gae_of_rows(whole, in_one, **options)
    three = gae_of_rows(
        [cut[i] for i in shuffled], [in_three[i] for i in shuffled], **options
    )

    for case in (0, 1):
        if level == "turn":
            advantages = gae_by_definition(
                np.array(pay[case]), values[case][starts], 0.9, 0.8
            )
            expected = np.repeat(advantages, lengths)
        else:
            rewards = np.zeros(6)
            rewards[starts + lengths - 1] = pay[case]
            expected = gae_by_definition(rewards, values[case], 0.9, 0.8)
        own = np.array(whole[case].env_mask, bool)
        np.testing.assert_allclose(
            np.array(one.advantages[case])[own], expected, atol=1e-12
        )
        assert not np.array(one.advantages[case])[~own].any(), "what others said has none"
        pieces = [three.advantages[shuffled.index(case * 3 + turn)] for turn in range(3)]
        np.testing.assert_allclose(np.concatenate(pieces), expected, atol=1e-12)
        begins = np.flatnonzero(one.starts[case])
        assert len(begins) == (3 if level == "turn" else 6)
        targets = np.array(one.returns[case])[begins]
        old = np.array(in_one[case])[begins]
        first_of_each = expected[starts] if level == "turn" else expected
        np.testing.assert_allclose(targets, first_of_each + old, atol=1e-12)


def test_turns_without_a_word_between_them_stay_apart(toys):
    row = toys.row(0, 0, said=[Said(1, 2, 3)], pay=[0.0])._replace(
        turns=(0, 1), spans=((0, 2), (2, 3)), turn_rewards=(0.5, 1.0), to_go=1.5
    )
    (trajectory,) = trajectories([row], "turn")
    assert [(d.begin, d.end, d.reward) for d in trajectory] == [(0, 2, 0.5), (2, 3, 1.0)]


def test_two_seats_of_one_episode_are_two_trajectories(toys):
    row = toys.row(0, 0, said=[Said(1)], pay=[0.0])
    assert len(trajectories([row, row._replace(seat="learner_1")], "turn")) == 2


@pytest.mark.parametrize("cap", [0.7, 2.0])
def test_a_turn_is_weighed_by_the_product_of_its_tokens(episodes, cap):
    whole, _, _ = episodes
    now = [list(-RNG.random(len(row.completion_ids))) for row in whole]
    whole = [row._replace(origin="stored") for row in whole]
    ratios = log_ratios(whole, now)
    merits = [[1.0, -2.0, 0.5]] * 2
    found = importance_weighted(whole, merits, ratios, cap)
    assert [len(weights) for weights in found] == [3, 3]
    for row, log_probs, weights in zip(whole, now, found, strict=True):
        for turn, (begin, end) in enumerate(row.spans):
            ratio = np.prod(np.exp(np.array(log_probs[begin:end]) + 0.5))
            assert weights[turn] == pytest.approx(merits[0][turn] * min(cap, ratio))


def test_every_own_token_of_a_turn_shares_its_advantage(episodes):
    whole, _, _ = episodes
    spread = by_turn(whole, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert spread == [[1, 1, 0, 2, 0, 3, 3, 3], [4, 4, 0, 5, 0, 6, 6, 6]]


def test_roles_are_measured_against_what_they_usually_earn(toys):
    baselines = Baselines()
    first = [
        toys.row(case, 0, said=[Said(1), Said(2)], pay=pay)
        for case, pay in enumerate([[0.0, 1.0], [0.5, 0.0]])
    ]
    critic = toys.row(0, 0, said=[Said(3)], pay=[-1.0])._replace(seat="critic_0")
    rows = [*first, critic]
    assert above_baseline(rows, baselines) == [[1.0, 1.0], [0.5, 0.0], [-1.0]]
    update_baselines(rows, baselines)
    assert baselines.of("learner") == pytest.approx(np.mean([1.0, 1.0, 0.5, 0.0]))
    assert baselines.of("critic") == -1.0
    assert above_baseline([critic], baselines) == [[0.0]]
    update_baselines([first[0]], baselines)
    assert baselines.of("learner") == pytest.approx(0.9 * 0.625 + 0.1 * 1.0)
    assert baselines.of("critic") == -1.0
