"""DPO: prefers the chosen; its losses are those of the papers."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.dpo import Dpo, differing, trainer
from superalign_training.algorithms.logprobs import completion_logprobs
from superalign_training.data import Preference
from superalign_training.policy import Lora, Policy

PAIRS = [Preference((30 + i, 31, 32), (40 + i % 2, 1), (42 + i % 2, 1)) for i in range(12)]
LOSSES = ("sigmoid", "conservative", "robust")


def margins(policy, pairs=PAIRS):
    chosen = completion_logprobs(
        policy.model, [(p.prompt_ids, p.chosen_ids) for p in pairs], batch=5
    )
    rejected = completion_logprobs(
        policy.model, [(p.prompt_ids, p.rejected_ids) for p in pairs], batch=5
    )
    return np.subtract(chosen, rejected)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_policy_learns_to_prefer_the_chosen(scratch, loss):
    policy = Policy.from_reference(str(scratch))
    before, steps = margins(policy), []
    settings = Dpo(
        loss_type=loss,
        label_smoothing=0.0 if loss == "sigmoid" else 0.2,
        steps=30,
        batch_size=12,
        learning_rate=5e-3,
        num_train_epochs=99,
    )
    numbers = settings.improve(
        policy, PAIRS, seed=3, on_step=lambda done, n: steps.append(done)
    )
    assert (margins(policy) > before + 1.0).all()
    assert numbers["accuracy"] == 1.0
    assert numbers["margin"] > 0.1
    assert numbers["loss"] < numbers["loss_first"]
    assert steps == list(range(1, 31))
    assert not policy.model.training


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(scratch):
    def trained(seed):
        policy = Policy.from_reference(str(scratch))
        Dpo(steps=5, batch_size=4).improve(policy, PAIRS, seed=seed)
        return policy.hash

    assert trained(11) == trained(11) != trained(12)


def test_few_pairs_are_not_learned_by_heart(scratch):
    policy = Policy.from_reference(str(scratch))
    assert (
        Dpo(steps=99, batch_size=4, num_train_epochs=2).improve(policy, PAIRS, seed=0)[
            "steps"
        ]
        == 6
    )


# --- the loss itself


def sigmoid_log(x):
    return -np.logaddexp(0.0, -np.asarray(x, np.float64))


def expected_loss(loss, flip, m):
    """The papers' formulae, in float64."""
    kept, flipped = -sigmoid_log(m), -sigmoid_log(-np.asarray(m))
    return {
        "sigmoid": kept,
        "conservative": (1 - flip) * kept + flip * flipped,
        "robust": ((1 - flip) * kept - flip * flipped) / (1 - 2 * flip),
    }[loss]


@pytest.fixture
def exact(scratch):
    """A policy in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    policy = Policy.from_reference({"id": str(scratch), "dtype": "float64"})
    yield policy
    torch.set_default_dtype(before)


def loss_of(policy, settings, pairs, references):
    """The loss as `improve` computes it: TRL's code, with our settings, no step taken."""
    rows = [
        {
            "prompt_ids": list(pair.prompt_ids),
            "chosen_ids": list(pair.chosen_ids),
            "rejected_ids": list(pair.rejected_ids),
            "ref_chosen_logps": chosen,
            "ref_rejected_logps": rejected,
        }
        for pair, (chosen, rejected) in zip(pairs, references, strict=True)
    ]
    with policy.training():
        made = trainer(settings, policy, rows)
        batch = made.data_collator(rows)
        with torch.no_grad():
            return float(made.compute_loss(made.model, batch))


def random_case(policy, seed):
    rng = np.random.default_rng(seed)
    ids = lambda count: tuple(rng.integers(20, 60, count).tolist())  # noqa: E731
    pairs = [Preference(ids(4), ids(1 + k % 3), (19, *ids(k % 4))) for k in range(6)]
    references = [tuple(pair) for pair in rng.normal(-6.0, 3.0, (6, 2))]
    policy_side = margins(policy, pairs)
    deltas = policy_side - np.array([c - r for c, r in references])
    return pairs, references, deltas


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("beta", [0.05, 1.7])
def test_the_loss_is_that_of_the_paper(exact, loss, beta):
    flip = 0.0 if loss == "sigmoid" else 0.3
    pairs, references, deltas = random_case(exact, 5)
    found = loss_of(
        exact, Dpo(loss_type=loss, label_smoothing=flip, beta=beta), pairs, references
    )
    # The trainer sums log-probabilities in float32, whatever the model is.
    assert found == pytest.approx(expected_loss(loss, flip, beta * deltas).mean(), abs=1e-6)


def flipped(pair, reference):
    return pair._replace(
        chosen_ids=pair.rejected_ids, rejected_ids=pair.chosen_ids
    ), reference[::-1]


@pytest.mark.parametrize("flip", [0.1, 0.4])
def test_over_random_flips_the_robust_loss_is_the_clean_one_and_the_conservative_is_not(
    exact, flip
):
    """Every pattern of flips of three pairs, weighted by its probability."""
    pairs, references, _ = random_case(exact, 6)
    pairs, references = pairs[:3], references[:3]
    clean = loss_of(exact, Dpo(beta=0.7), pairs, references)

    def expectation(settings):
        total = 0.0
        for pattern in range(2 ** len(pairs)):
            turned = [pattern >> place & 1 for place in range(len(pairs))]
            shown = [
                flipped(pair, reference) if turn else (pair, reference)
                for turn, pair, reference in zip(turned, pairs, references, strict=True)
            ]
            chance = math.prod(flip if turn else 1 - flip for turn in turned)
            total += chance * loss_of(exact, settings, *zip(*shown, strict=True))
        return total

    robust = expectation(Dpo(loss_type="robust", label_smoothing=flip, beta=0.7))
    conservative = expectation(
        Dpo(loss_type="conservative", label_smoothing=flip, beta=0.7)
    )
    assert robust == pytest.approx(clean, abs=1e-9)  # 1e-6 is asked for
    assert abs(conservative - clean) > 0.01


def test_the_anchor_is_the_policy_as_training_began_or_its_original(scratch):
    trained = Policy.from_reference(str(scratch))
    Dpo(steps=20, batch_size=12, learning_rate=5e-3, num_train_epochs=99).improve(
        trained, PAIRS, seed=3
    )
    first = Dpo(steps=1, batch_size=12, learning_rate=1e-9)
    assert first.improve(trained, PAIRS, seed=1)["margin"] == pytest.approx(0.0, abs=1e-5)
    moved = first.model_copy(update={"ref_policy": "original"})
    assert moved.improve(trained, PAIRS, seed=1)["margin"] > 0.1


def test_imitating_the_chosen_keeps_them_likely(scratch):
    def likelihood(imitate):
        policy = Policy.from_reference(str(scratch))
        Dpo(
            steps=30,
            batch_size=12,
            learning_rate=5e-3,
            num_train_epochs=99,
            sft_weight=imitate,
        ).improve(policy, PAIRS, seed=3)
        return sum(completion_logprobs(policy.model, [p[:2] for p in PAIRS], batch=12))

    assert likelihood(1.0) > likelihood(0.0) + 5.0


# --- what cannot be learned from


def test_equal_sides_are_dropped_and_counted_or_refused_if_there_is_nothing_else(scratch):
    policy = Policy.from_reference(str(scratch))
    same = Preference((5,), (7, 1), (7, 1))
    numbers = Dpo(steps=2, batch_size=2).improve(policy, [same, *PAIRS[:3], same], seed=0)
    assert (numbers["pairs"], numbers["dropped"]) == (3.0, 2.0)
    with pytest.raises(InvalidOption, match="equals the rejected"):
        differing([same])


def test_one_token_is_enough_and_nothing_is_too_little(scratch):
    policy = Policy.from_reference(str(scratch))
    numbers = Dpo(steps=2).improve(policy, [Preference((5,), (1,), (7,))], seed=0)
    assert math.isfinite(numbers["loss"])
    with pytest.raises(InvalidOption, match="nothing to prefer"):
        Dpo().improve(policy, [], seed=0)
    for pair in (
        Preference((5,), (), (1,)),
        Preference((5,), (1,), ()),
        Preference((), (1,), (2,)),
    ):
        with pytest.raises(InvalidOption, match="at least one token"):
            Dpo().improve(policy, [pair], seed=0)


def test_broken_weights_are_refused_before_training(scratch):
    policy = Policy.from_reference(str(scratch))
    with torch.no_grad():
        next(policy.model.parameters()).fill_(math.nan)
    with pytest.raises(InvalidOption, match="not finite"):
        Dpo().improve(policy, PAIRS, seed=0)


def test_a_learning_rate_that_explodes_says_so(scratch):
    policy = Policy.from_reference(str(scratch))
    with pytest.raises(InvalidOption, match="lower learning_rate"):
        Dpo(steps=8, batch_size=12, learning_rate=1e30, num_train_epochs=99).improve(
            policy, PAIRS, seed=0
        )


def test_a_tokenizer_without_pad_token_will_do(scratch):
    def trained(pad):
        policy = Policy.from_reference(str(scratch))
        if not pad:
            policy.tokenizer.pad_token = None
        uneven = [Preference((5, 6), (7, 8, 1), (9, 1)), Preference((5,), (1,), (9, 9, 1))]
        numbers = Dpo(steps=3, batch_size=2).improve(policy, uneven, seed=0)
        return numbers["loss"], margins(policy, uneven)

    (loss, moved), (loss_without, moved_without) = trained(True), trained(False)
    assert loss_without == pytest.approx(loss, abs=1e-6)
    assert moved_without == pytest.approx(moved, abs=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 0},
        {"label_smoothing": 0.5, "loss_type": "robust"},
        {"label_smoothing": -0.1, "loss_type": "robust"},
        {"label_smoothing": 0.1},
        {"loss_type": "robust"},
        {"loss_type": "conservative", "label_smoothing": 0.0},
        {"loss_type": "hinge"},
        {"ref_policy": "yesterday"},
    ],
)
def test_settings_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValidationError) as raised:
        Dpo(**wrong)
    assert {one["type"] for one in raised.value.errors()} != {"extra_forbidden"}


# --- adapters


def adapter_policy(scratch):
    return Policy.from_reference(str(scratch), adapter=Lora(rank=4, alpha=8), seed=3)


@pytest.mark.parametrize("anchor", ["round", "original"])
def test_an_adapter_learns_to_prefer_while_its_base_stays_as_it_is(scratch, anchor):
    policy = adapter_policy(scratch)
    frozen = {
        n: w.clone() for n, w in policy.model.named_parameters() if not w.requires_grad
    }
    before = margins(policy)
    numbers = Dpo(
        steps=40, batch_size=12, learning_rate=2e-2, num_train_epochs=99, ref_policy=anchor
    ).improve(policy, PAIRS, seed=3)
    assert (margins(policy) > before + 1.0).all()
    assert numbers["accuracy"] == 1.0
    after = dict(policy.model.named_parameters())
    assert frozen
    assert all(torch.equal(after[name], weight) for name, weight in frozen.items())


def test_the_original_of_an_adapter_is_the_base_without_it(scratch):
    policy = adapter_policy(scratch)
    Dpo(steps=40, batch_size=12, learning_rate=2e-2, num_train_epochs=99).improve(
        policy, PAIRS, seed=3
    )
    still = Dpo(steps=1, batch_size=12, learning_rate=1e-9)
    assert still.improve(policy, PAIRS, seed=1)["margin"] == pytest.approx(0.0, abs=1e-5)
    away = still.model_copy(update={"ref_policy": "original"})
    expected = 0.1 * (margins(policy) - margins(Policy.from_reference(str(scratch)))).mean()
    assert away.improve(policy, PAIRS, seed=1)["margin"] == pytest.approx(
        expected, rel=1e-3
    )
