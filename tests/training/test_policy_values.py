"""The value head starts at nothing, costs one pass, and leaves the logits alone."""

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel

from superalign_training.policy import Policy
from superalign_training.policy.value_head import ValueHead, logits_and_values, values_of

IDS = torch.arange(20, 36).reshape(2, 8)
MASK = torch.ones_like(IDS)


@pytest.fixture
def policy(scratch):
    return Policy.from_reference(str(scratch))


def teach(policy, steps=3, rate=1e-2):
    """Train logits and values at once, so that neither is what it was."""
    policy.forward(IDS, MASK)  # makes the head
    optimizer = policy.optimizer(rate)
    for _ in range(steps):
        logits, values = policy.forward(IDS, MASK)
        loss = logits.logsumexp(-1).mean() + (values - 1).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_values_start_at_nothing_and_are_learned(policy):
    assert torch.equal(policy.values(IDS, MASK), torch.zeros(2, 8))
    before = policy.hash
    teach(policy, steps=60, rate=3e-2)
    assert policy.hash != before
    assert policy.values(IDS, MASK).mean() == pytest.approx(1.0, abs=0.2)


def test_one_pass_gives_the_models_own_logits_and_the_values_of_the_other_way(policy):
    teach(policy)
    logits, values = policy.forward(IDS, MASK)
    assert torch.equal(logits, policy.model(IDS, attention_mask=MASK).logits)
    torch.testing.assert_close(values, policy.values(IDS, MASK))
    assert values.requires_grad
    assert not policy.values(IDS, MASK).requires_grad


def test_only_the_last_positions_are_computed_where_only_those_are_wanted(policy):
    teach(policy)
    logits, values = policy.forward(IDS, MASK)
    last = policy.forward(IDS, MASK, keep=3)
    torch.testing.assert_close(last.logits, logits[:, -3:])
    torch.testing.assert_close(last.values, values[:, -3:])


@pytest.mark.parametrize("side", ["left", "right"])
def test_values_do_not_depend_on_padding(policy, side):
    teach(policy)
    ids, mask = torch.zeros(2, 11, dtype=torch.long), torch.zeros(2, 11, dtype=torch.long)
    where = slice(3, None) if side == "left" else slice(None, 8)
    ids[:, where], mask[:, where] = IDS, 1
    padded = policy.forward(ids, mask)
    plain = policy.forward(IDS, MASK)
    torch.testing.assert_close(padded.values[:, where], plain.values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded.logits[:, where], plain.logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        policy.values(ids, mask)[:, where], plain.values, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(
    "model",
    [
        GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2)),
        Gemma2ForCausalLM(  # caps its logits softly
            Gemma2Config(
                vocab_size=64,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                final_logit_softcapping=2.0,
            )
        ),
    ],
    ids=["gpt2", "gemma2"],
)
def test_other_architectures_are_read_at_the_same_place(model):
    head = ValueHead.of(model.train(False))
    torch.nn.init.normal_(head.linear.weight)
    ids = IDS % 64
    logits, values = logits_and_values(model, head, ids=ids, mask=MASK)
    assert torch.equal(logits, model(ids, attention_mask=MASK).logits)
    torch.testing.assert_close(values, values_of(model, head, ids=ids, mask=MASK))
    assert values.std() > 0


def test_a_head_of_a_narrow_model_still_values_in_float32(scratch):
    policy = Policy.from_reference(str(scratch), dtype="bfloat16")
    assert policy.forward(IDS, MASK).values.dtype == torch.float32
    assert policy.values(IDS, MASK).dtype == torch.float32


def test_the_head_has_a_rate_of_its_own_and_may_come_after_the_optimiser(policy):
    optimizer = policy.optimizer(1e-3)
    assert len(optimizer.param_groups) == 1
    policy.values(IDS, MASK)
    assert policy.optimizer(1e-3, value_learning_rate=1e-1) is optimizer
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 1e-1]


def test_a_head_is_saved_with_its_policy(policy, tmp_path):
    plain = policy.save(tmp_path / "plain")
    assert not plain.head
    assert not Policy.load(tmp_path / "plain", plain).has_value_head
    teach(policy)
    saved = policy.save(tmp_path / "kept")
    loaded = Policy.load(tmp_path / "kept", saved)
    assert torch.equal(loaded.values(IDS, MASK), policy.values(IDS, MASK))
    assert loaded.values(IDS, MASK).abs().sum() > 0


def test_weights_taken_back_take_the_values_back_too(policy):
    teach(policy)
    kept, values = policy.snapshot(), policy.values(IDS, MASK)
    teach(policy)
    assert not torch.equal(policy.values(IDS, MASK), values)
    policy.restore(kept)
    assert torch.equal(policy.values(IDS, MASK), values)
