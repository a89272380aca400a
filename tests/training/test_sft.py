"""Supervised fine-tuning: given ids, loss on the completion alone."""

import json
import math

import pytest
import torch

from superalign_env.errors import InvalidOption
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example
from superalign_training.policy import Policy

EXAMPLES = [Example((30 + i, 31, 32), (40 + i % 2, 1)) for i in range(12)]


def probability(policy, example):
    ids = torch.tensor([example.prompt_ids + example.completion_ids])
    with torch.no_grad():
        logs = policy.model(input_ids=ids).logits.log_softmax(-1)[0]
    places = range(len(example.prompt_ids) - 1, ids.shape[1] - 1)
    return math.exp(sum(logs[p, ids[0, p + 1]].item() for p in places))


def test_the_policy_learns_to_say_the_completions(scratch):
    policy = Policy.from_reference(str(scratch))
    before = policy.hash
    steps = []
    numbers = Sft(steps=40, batch_size=12, learning_rate=2e-2, num_train_epochs=99).improve(
        policy,
        EXAMPLES,
        seed=3,
        on_step=lambda done, n: steps.append((done, n["loss"])),
    )
    assert policy.hash != before
    assert math.isfinite(numbers["loss"])
    assert numbers["loss"] < 0.5 * numbers["loss_first"]
    assert [done for done, _ in steps] == list(range(1, 41))
    assert all(probability(policy, example) > 0.5 for example in EXAMPLES)
    assert not policy.model.training


def test_who_loads_what_was_trained_finds_the_cache_switched_on(scratch, tmp_path):
    policy = Policy.from_reference(str(scratch))
    Sft(steps=1, batch_size=2).improve(policy, EXAMPLES[:2], seed=0)
    policy.save(tmp_path / "kept")
    config = json.loads((tmp_path / "kept" / "config.json").read_text())
    assert config["use_cache"] is True


def test_the_first_loss_is_that_of_the_completion_alone(scratch):
    policy = Policy.from_reference(str(scratch))
    example = EXAMPLES[0]
    expected = -math.log(probability(policy, example)) / len(example.completion_ids)
    numbers = Sft(steps=1, batch_size=1, learning_rate=1e-9).improve(
        policy, [example], seed=0
    )
    assert numbers["loss"] == pytest.approx(expected, rel=1e-4)


def test_few_rows_are_not_learned_by_heart(scratch):
    policy = Policy.from_reference(str(scratch))
    numbers = Sft(steps=99, batch_size=4, num_train_epochs=2).improve(
        policy, EXAMPLES, seed=0
    )
    assert numbers["steps"] == 6


def test_one_token_is_enough_and_nothing_is_too_little(scratch):
    policy = Policy.from_reference(str(scratch))
    numbers = Sft(steps=2, batch_size=8).improve(policy, [Example((5,), (1,))], seed=0)
    assert math.isfinite(numbers["loss"])
    with pytest.raises(InvalidOption, match="nothing to imitate"):
        Sft().improve(policy, [], seed=0)
    with pytest.raises(InvalidOption, match="at least one token"):
        Sft().improve(policy, [Example((5,), ())], seed=0)
