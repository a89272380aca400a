"""Losses against references in float64, and divergences against their exact values."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from superalign_training.algorithms.logprobs import (
    RowBatch,
    logprobs_of,
    pad,
    token_logprobs,
)
from superalign_training.algorithms.losses import (
    clipped_surrogate,
    clipped_value_loss,
    entropy,
    k1,
    k3,
)
from superalign_training.algorithms.ppo import Ppo
from superalign_training.algorithms.ppo_update import standardised
from superalign_training.algorithms.reinforce import Reinforce
from superalign_training.data import Live

RNG = np.random.default_rng(3)


def as_tensor(numbers, grad=False):
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


def test_the_surrogate_is_the_smaller_of_plain_and_clipped_gain():
    new, old, advantages = RNG.normal(size=(3, 200))
    ratio = np.exp(new - old)
    expected = -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    found = clipped_surrogate(as_tensor(new), as_tensor(old), as_tensor(advantages), 0.2)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    "advantage, log_ratio, moves",
    [
        (1.0, 0.5, False),  # gained enough
        (1.0, -0.5, True),
        (-1.0, -0.5, False),  # punished enough
        (-1.0, 0.5, True),
        (1.0, 0.0, True),
    ],
)
def test_nothing_pushes_a_ratio_further_out_than_the_clip(advantage, log_ratio, moves):
    new = as_tensor([log_ratio], grad=True)
    clipped_surrogate(new, as_tensor([0.0]), as_tensor([advantage]), 0.2).sum().backward()
    expected = -advantage * np.exp(log_ratio) if moves else 0.0
    assert new.grad.item() == pytest.approx(expected)


@pytest.mark.parametrize("clip", [None, 0.2])
def test_values_are_clipped_around_what_they_were(clip):
    new, old, targets = RNG.normal(size=(3, 200))
    errors = (new - targets) ** 2
    if clip is not None:
        near = old + np.clip(new - old, -clip, clip)
        errors = np.maximum(errors, (near - targets) ** 2)
    found = clipped_value_loss(as_tensor(new), as_tensor(old), as_tensor(targets), clip)
    np.testing.assert_allclose(found, 0.5 * errors, atol=1e-12)


@pytest.mark.parametrize("estimate", [k1, k3])
def test_estimates_of_the_divergence_are_unbiased(estimate):
    """Their exact expectation under the policy is KL(policy ‖ reference)."""
    policy, reference = RNG.dirichlet(np.ones(6), size=2)
    exact = (policy * np.log(policy / reference)).sum()
    each = estimate(as_tensor(np.log(policy)), as_tensor(np.log(reference))).numpy()
    assert (policy * each).sum() == pytest.approx(exact, abs=1e-12)
    assert estimate is k1 or (each >= 0).all()


def test_the_gradient_of_k3_is_worth_following_and_that_of_k1_is_not():
    """Expected over samples of the policy, from which both are computed in training."""
    logits = as_tensor(RNG.normal(size=5), grad=True)
    reference = as_tensor(np.log(RNG.dirichlet(np.ones(5))))
    policy = logits.log_softmax(0)
    weights = policy.detach().exp()
    (flat,) = torch.autograd.grad(
        (weights * k1(policy, reference)).sum(), logits, retain_graph=True
    )
    np.testing.assert_allclose(flat, 0.0, atol=1e-12)
    (slope,) = torch.autograd.grad((weights * k3(policy, reference)).sum(), logits)
    # d/dθ E[exp(r) − r − 1] at fixed samples = Σ p (1 − q/p) ∇ log p = −Σ q ∇ log p
    p, q = weights.numpy(), np.exp(reference.numpy())
    np.testing.assert_allclose(slope, p - q, atol=1e-12)


def test_entropy_is_that_of_the_whole_distribution():
    p = RNG.dirichlet(np.ones(7), size=(3, 4))
    expected = -(p * np.log(p)).sum(axis=-1)
    np.testing.assert_allclose(entropy(as_tensor(np.log(p))), expected, atol=1e-12)


def test_advantages_are_standardised_over_decisions_not_tokens():
    advantages = as_tensor([[3.0, 3.0, 3.0, 0.0], [-1.0, 0.0, 2.0, 2.0]])
    decides = as_tensor([[1.0, 0, 0, 0], [1.0, 0, 1.0, 0]])
    decided = np.array([3.0, -1.0, 2.0])
    expected = (advantages.numpy() - decided.mean()) / (decided.std(ddof=1) + 1e-4)
    np.testing.assert_allclose(standardised(advantages, decides), expected, atol=1e-12)
    one = standardised(as_tensor([[5.0]]), as_tensor([[1.0]]))
    assert one.item() == 0.0


def own_entropy(policy, rows):
    """Mean entropy in nats at own tokens, and at all tokens of the completions."""
    ids = torch.tensor([row.prompt_ids + row.completion_ids for row in rows])
    own = torch.tensor([row.env_mask for row in rows]).bool()
    with torch.no_grad():
        logits = policy.model(ids).logits[:, -own.shape[1] - 1 : -1]
    entropies = torch.distributions.Categorical(logits=logits).entropy()
    return entropies[own].mean().item(), entropies.mean().item()


ONE_STEP = {
    "ppo": Ppo(
        steps=1, batch_size=8, update_epochs=1, num_minibatches=1, kl_coef=0.0, ent_coef=1.0
    ),
    "reinforce": Reinforce(steps=1, batch_size=8, kl_coef=0.0, ent_coef=1.0),
}


@pytest.mark.parametrize("name", ONE_STEP)
def test_entropy_is_of_own_words_alone_and_its_bonus_raises_it(toys, name):
    policy = toys.small_policy()
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(
            8
        )  # far from uniform, and unlike from word to word
    rows = [
        row._replace(to_go=0.0, turn_rewards=(0.0, 0.0))
        for row in toys.Delayed(policy)(0, 8)
    ]
    before, with_others = own_entropy(policy, rows)
    assert abs(before - with_others) > 1e-3
    numbers = ONE_STEP[name].improve(policy, Live(lambda *_: rows), seed=1)
    assert numbers["entropy"] == pytest.approx(before, abs=1e-4)
    assert own_entropy(policy, rows)[0] > before


@pytest.mark.parametrize("name", ONE_STEP)
def test_a_weight_on_divergence_keeps_a_policy_near_the_reference_policy(toys, name):
    moved = []
    for kl in (0.0, 5.0):
        policy = toys.small_policy()
        rows = toys.Delayed(policy)(0, 32)
        assert len({row.to_go for row in rows}) == 2
        algorithm = ONE_STEP[name].model_copy(
            update={
                "steps": 8,
                "batch_size": 32,
                "learning_rate": 1e-2,
                "ent_coef": 0.0,
                "kl_coef": kl,
            }
        )
        algorithm.improve(policy, Live(lambda *_, r=rows: r), seed=1)
        ids = torch.tensor([row.prompt_ids + row.completion_ids for row in rows])
        with torch.no_grad():
            now = policy.model(ids).logits.log_softmax(-1)
            then = toys.small_policy().model(ids).logits.log_softmax(-1)
        moved.append((now.exp() * (now - then)).sum(-1).mean().item())
    assert moved[1] < 0.5 * moved[0]


def test_a_turn_is_valued_by_what_was_read_before_it(toys):
    """With lambda 1 its target is what the episode still pays, whatever was expected."""
    policy = toys.small_policy()
    rows = toys.Delayed(policy)(0, 16)
    torch.nn.init.normal_(policy.value_head.linear.weight, std=0.3)
    ids = torch.tensor([row.prompt_ids + row.completion_ids for row in rows])
    values = policy.values(ids, torch.ones_like(ids))
    before = [len(row.prompt_ids) - 1 + begin for row in rows[:1] for begin, _ in row.spans]
    to_go = torch.tensor([row.turns_to_go for row in rows])
    expected = 0.5 * (values[:, before] - to_go).pow(2).mean().item()
    algorithm = ONE_STEP["ppo"].model_copy(update={"batch_size": 16, "gae_lambda": 1.0})
    numbers = algorithm.improve(policy, Live(lambda *_: rows), seed=1)
    assert numbers["value_loss"] == pytest.approx(expected, rel=1e-4)


def test_log_probs_are_of_own_tokens_at_the_temperature_and_0_elsewhere():
    """A word of somebody else that has become impossible must not spoil a sum."""
    ids = torch.tensor([[5, 1, 2, 3]])
    batch = RowBatch(ids, torch.ones_like(ids), torch.tensor([[1.0, 0.0, 1.0]]))
    logits = torch.as_tensor(RNG.normal(size=(1, 3, 6)), dtype=torch.float32)
    logits[0, 1, 2] = -torch.inf
    first, others, last = logprobs_of(logits, batch, 0.5).logprobs[0].tolist()
    wanted = (logits / 0.5).log_softmax(-1)
    assert others == 0.0
    assert (first, last) == pytest.approx((wanted[0, 0, 1].item(), wanted[0, 2, 3].item()))


def test_log_probs_do_not_depend_on_padding(toys):
    """Asked of a model with absolute positions, which padding on the left would shift."""
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=1000,
            n_positions=16,
            n_embd=16,
            n_layer=1,
            n_head=2,
            bos_token_id=1,
            eos_token_id=1,
        )
    ).train(False)
    short, long = toys.Delayed(toys.small_policy())(0, 2)
    long = long._replace(prompt_ids=(3, 4, *long.prompt_ids))
    device = torch.device("cpu")
    with torch.no_grad():
        both = token_logprobs(model, pad([short, long], filler=0, device=device), 1.0)
        alone = token_logprobs(model, pad([short], filler=0, device=device), 1.0)
    torch.testing.assert_close(both.logprobs[:1], alone.logprobs)


@pytest.mark.parametrize("name", ONE_STEP)
def test_long_gradients_are_shortened(toys, name):
    """So far, here, that what the optimiser adds to its denominator outweighs them."""
    moved = []
    for max_norm in (1.0, 1e-12):
        policy = toys.small_policy()
        rows, before = toys.Delayed(policy)(0, 8), policy.snapshot()
        algorithm = ONE_STEP[name].model_copy(
            update={"max_grad_norm": max_norm, "learning_rate": 1e-2}
        )
        algorithm.improve(policy, Live(lambda *_, r=rows: r), seed=1)
        after = policy.snapshot()
        moved.append(max((after[n] - before[n]).abs().max().item() for n in before))
    assert moved[0] > 5e-3 and moved[1] < 1e-3
