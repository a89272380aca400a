"""KTO: says more of what was found good; its loss is that of the paper."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.kto import Kto, in_passes, trainer
from superalign_training.algorithms.logprobs import completion_logprobs
from superalign_training.data import UnpairedPreference
from superalign_training.policy import Policy

GOOD = [UnpairedPreference((30 + i, 31, 32), (40 + i % 2, 1), True) for i in range(4)]
BAD = [UnpairedPreference((30 + i, 31, 32), (42 + i % 2, 1), False) for i in range(12)]
OPINIONS = [*GOOD, *BAD]


def likelihoods(policy, opinions=OPINIONS):
    return np.array(
        completion_logprobs(policy.model, [one[:2] for one in opinions], batch=8)
    )


def test_the_policy_says_more_of_the_good_and_less_of_the_bad(scratch):
    policy = Policy.from_reference(str(scratch))
    before, steps = likelihoods(policy), []
    numbers = Kto(steps=30, batch_size=16, learning_rate=5e-3, num_train_epochs=99).improve(
        policy, OPINIONS, seed=3, on_step=lambda done, n: steps.append(done)
    )
    moved = likelihoods(policy) - before
    assert moved[:4].min() > 0.5
    assert moved[4:].max() < -0.5
    assert numbers["loss"] < numbers["loss_first"]
    assert (numbers["examples"], numbers["good"]) == (16.0, 4.0)
    assert steps == list(range(1, 31))
    assert not policy.model.training
    assert "forward" not in vars(policy.model)


def test_every_opinion_is_heard_once_in_every_pass():
    places = in_passes(5, 12, key=3)
    assert sorted(places[:5]) == sorted(places[5:10]) == list(range(5))
    assert len(places) == 12
    assert places[:5] != places[5:10]


def test_both_kinds_weigh_the_same_in_total_unless_told_otherwise():
    good, bad = Kto().weights(OPINIONS)
    assert good * len(GOOD) == pytest.approx(bad * len(BAD))
    assert good * len(GOOD) + bad * len(BAD) == pytest.approx(len(OPINIONS))
    assert Kto(balance=False, undesirable_weight=2.0).weights(OPINIONS) == (1.0, 2.0)


@pytest.mark.parametrize("beta", [0.1, 0.9])
def test_the_loss_is_that_of_the_paper(scratch, beta):
    """Eq. 7 and 8, with z0 estimated from completions that changed places, in float64."""
    policy = Policy.from_reference({"id": str(scratch), "dtype": "float64"})
    rng = np.random.default_rng(4)
    size, labels = 5, np.array([True, False, True, False, False])
    prompts = [tuple(rng.integers(20, 60, 3).tolist()) for _ in range(size)]
    said = [tuple(rng.integers(20, 60, 1 + place % 3).tolist()) for place in range(size)]
    moved = [said[-1], *said[:-1]]
    reference, elsewhere = rng.normal(-9.0, 2.0, size), rng.normal(-12.0, 1.0, size)
    rows = [
        {
            "prompt_ids": list(prompts[place]),
            "completion_ids": list(said[place]),
            "KL_completion_ids": list(moved[place]),
            "label": bool(labels[place]),
            "ref_logps": float(reference[place]),
            "ref_KL_logps": float(elsewhere[place]),
        }
        for place in range(size)
    ]
    with policy.training():
        made = trainer(Kto(beta=beta), policy, rows, (1.5, 0.75), batch=size)
        with torch.no_grad():
            found = float(made.compute_loss(made.model, made.data_collator(rows)))

    sigmoid = lambda x: 1.0 / (1.0 + np.exp(-x))  # noqa: E731
    own = np.array(
        completion_logprobs(policy.model, list(zip(prompts, said, strict=True)), batch=size)
    )
    other = np.array(
        completion_logprobs(
            policy.model, list(zip(prompts, moved, strict=True)), batch=size
        )
    )
    kl = max(0.0, (other - elsewhere).mean())
    assert kl > 0
    ratio = own - reference
    value = np.where(
        labels,
        1.5 * (1 - sigmoid(beta * (ratio - kl))),
        0.75 * (1 - sigmoid(beta * (kl - ratio))),
    )
    # The trainer keeps references in float32.
    assert found == pytest.approx(value.mean(), abs=1e-6)


def test_completions_change_places_within_their_batch_alone(scratch):
    from superalign_training.algorithms.kto import _rows  # noqa: PLC0415 - the layout itself

    policy = Policy.from_reference(str(scratch))
    rows = _rows(policy, OPINIONS, Kto(), 4)
    for start in range(0, 16, 4):
        part = rows[start : start + 4]
        own = [row["completion_ids"] for row in part]
        assert [row["KL_completion_ids"] for row in part] == [own[-1], *own[:-1]]


def test_at_first_the_policy_is_its_anchor(scratch):
    policy = Policy.from_reference(str(scratch))
    numbers = Kto(steps=1, batch_size=16, learning_rate=1e-9).improve(
        policy, OPINIONS, seed=0
    )
    assert numbers["kl"] == pytest.approx(0.0, abs=1e-5)
    # 1 − σ(0) for every opinion, and weights of mean 1.
    assert numbers["loss"] == pytest.approx(0.5, abs=1e-5)


def test_the_anchor_may_be_the_untrained_original(scratch):
    policy = Policy.from_reference(str(scratch))
    Kto(steps=30, batch_size=16, learning_rate=5e-3, num_train_epochs=99).improve(
        policy, OPINIONS, seed=3
    )
    first = Kto(steps=1, batch_size=16, learning_rate=1e-9, ref_policy="original")
    assert first.improve(policy, OPINIONS, seed=1)["loss"] < 0.49


# --- what cannot be learned from


def test_two_opinions_of_one_token_are_enough(scratch):
    policy = Policy.from_reference(str(scratch))
    two = [UnpairedPreference((5,), (1,), True), UnpairedPreference((6,), (7,), False)]
    assert math.isfinite(Kto(steps=2).improve(policy, two, seed=0)["loss"])


def test_nothing_or_one_kind_alone_is_refused(scratch):
    policy = Policy.from_reference(str(scratch))
    with pytest.raises(InvalidOption, match="nothing to learn"):
        Kto().improve(policy, [], seed=0)
    with pytest.raises(InvalidOption, match="all 4 examples are good"):
        Kto().improve(policy, GOOD, seed=0)
    with pytest.raises(InvalidOption, match="all 12 examples are bad"):
        Kto().improve(policy, BAD, seed=0)
    for broken in (UnpairedPreference((), (1,), True), UnpairedPreference((1,), (), True)):
        with pytest.raises(InvalidOption, match="at least one token"):
            Kto().improve(policy, [broken, *BAD], seed=0)


def test_broken_weights_are_refused_before_training(scratch):
    policy = Policy.from_reference(str(scratch))
    with torch.no_grad():
        next(policy.model.parameters()).fill_(math.nan)
    with pytest.raises(InvalidOption, match="not finite"):
        Kto().improve(policy, OPINIONS, seed=0)


@pytest.mark.parametrize(
    "wrong",
    [{"beta": 0}, {"batch_size": 1}, {"desirable_weight": -1}, {"ref_policy": "now"}],
)
def test_settings_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValidationError) as raised:
        Kto(**wrong)
    assert {one["type"] for one in raised.value.errors()} != {"extra_forbidden"}
