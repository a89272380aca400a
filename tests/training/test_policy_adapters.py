"""Several policies as LoRA adapters on one base: one memory, separate minds."""

import json

import msgspec
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from superalign_agents.adapters import SharedBase, read_adapter
from superalign_agents.checkpoints import deprecations_hidden, load_model, weights_hash
from superalign_agents.references import make_agent
from superalign_agents.transformer import TransformerAgent
from superalign_env import make_scenario
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_env.rollout import Rollouts
from superalign_env.types import View
from superalign_training.algorithms.sft import Sft
from superalign_training.data import Example
from superalign_training.policy import Lora, Policy, shared_base

IDS = torch.arange(20, 36).reshape(2, 8)
ROWS = [Example((20 + n, 21), (30 + n % 3, 1)) for n in range(8)]


@pytest.fixture
def base(speaking):
    return shared_base(str(speaking))


def on(base, seed=0, **lora):
    return Policy.from_reference(
        base.reference, adapter=Lora(**{"rank": 4, **lora}), base=base, seed=seed
    )


def train(policy, seed=1, rate=3e-2):
    Sft(steps=4, batch_size=4, learning_rate=rate, num_train_epochs=99).improve(
        policy, ROWS, seed=seed
    )


def logits(policy):
    with torch.no_grad():
        return policy.model(IDS).logits


def views(count=6):
    text = "<|user|> ann will burn knife near baby secretly ; help ann<|end|><|learner|>"
    return [
        View("e", n, "learner_0", "learner", 0, n, text, max_new_tokens=4)
        for n in range(count)
    ]


def test_a_fresh_adapter_changes_nothing(base):
    policy = on(base)
    with torch.no_grad():
        assert torch.equal(logits(policy), base.model(IDS).logits)
    whole = Policy.from_reference(base.reference)
    assert [r.text for r in policy.agent.act(views())] == [
        r.text for r in whole.agent.act(views())
    ]


def test_training_one_adapter_leaves_the_others_and_the_base_alone(base):
    one, two, three = (on(base, seed=seed, rank=2 + seed) for seed in range(3))
    hashes, said = [p.hash for p in (one, two, three)], logits(two)
    train(one)
    train(three)
    assert base.is_unchanged()
    assert (
        weights_hash(base.model)
        == base.hash
        == weights_hash(load_model(base.reference, device="cpu"))
    )
    assert [p.hash == h for p, h in zip((one, two, three), hashes, strict=True)] == [
        False,
        True,
        False,
    ]
    assert torch.equal(logits(two), said)
    assert not torch.equal(logits(one), said)
    assert not torch.equal(logits(one), logits(three))


def test_a_trainer_trains_the_adapter_and_nothing_else(base):
    policy = on(base)
    before = {name: w.detach().clone() for name, w in policy.model.named_parameters()}
    train(policy)
    changed = {
        name
        for name, weight in policy.model.named_parameters()
        if not torch.equal(weight, before[name])
    }
    assert changed
    assert all("lora_" in name for name in changed)
    assert changed <= set(policy.trained_weights())
    assert {name.partition(":")[2] for name in policy.optimizer_state.moments()} == set(
        policy.trained_weights()
    )


def test_adapters_lie_on_one_base_in_memory(base):
    policies = [on(base, seed=seed) for seed in range(3)]
    for policy in policies:
        train(policy)
    tensors = {
        tensor.data_ptr(): tensor.nbytes
        for policy in policies
        for tensor in (*policy.model.parameters(), *policy.reference_model().parameters())
    }
    shared = sum(weight.nbytes for weight in base.model.parameters())
    own = sum(w.nbytes for p in policies for w in p.trained_weights().values())
    assert sum(tensors.values()) == shared + own
    assert policies[0].memory_footprint().shared == shared
    assert sum(p.memory_footprint().weights for p in policies) == own


def test_three_adapters_play_one_rollout(base):
    """Seats by turns on one base; what a seat says does not depend on who else is there."""
    seats = ("attacker_0", "learner_0", "critic_0")
    policies = {seat: on(base, seed=n) for n, seat in enumerate(seats)}
    for n, policy in enumerate(policies.values()):
        train(policy, seed=n, rate=3e-3)
    agents = {seat: policy.agent for seat, policy in policies.items()}

    def played(agents):
        return Rollouts(make_scenario("red-team"), agents, run=3).run(8)

    together = played(agents)
    hashes = {seat: policy.hash for seat, policy in policies.items()}
    said = [utterance for episode in together for utterance in episode.utterances]
    assert {utterance.seat for utterance in said} == set(seats)
    assert all(one.reply.policy == hashes[one.seat] for one in said)
    alone = played({seat: apart(policy) for seat, policy in policies.items()})
    assert [[u.reply.text for u in e.utterances] for e in alone] == [
        [u.reply.text for u in e.utterances] for e in together
    ]


def apart(policy):
    """The agent of the same policy on a base of its own."""
    twin = on(shared_base(policy.reference))
    with torch.no_grad():
        for name, weight in twin.trained_weights().items():
            weight.copy_(policy.trained_weights()[name])
    twin.agent.refresh()
    return twin.agent


def test_the_reference_is_the_base_without_adapter(base):
    policy = on(base)
    train(policy)
    reference = policy.reference_model()
    with torch.no_grad():
        assert torch.equal(reference(IDS).logits, base.model(IDS).logits)
        assert not torch.equal(reference(IDS).logits, policy.model(IDS).logits)
    assert reference is policy.reference_model()
    assert not any(weight.requires_grad for weight in reference.parameters())


def test_a_hash_names_base_adapter_and_strength(base, scratch):
    policy = on(base, seed=1)
    assert policy.hash == on(base, seed=1).hash
    assert (
        len(
            {
                policy.hash,
                on(base, seed=2).hash,
                on(base, seed=1, alpha=99).hash,
                on(shared_base(str(scratch)), seed=1).hash,
                base.hash,
            }
        )
        == 5
    )


def test_making_an_adapter_leaves_global_randomness_alone(base):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    on(base, seed=9)
    assert torch.equal(torch.rand(2), expected)


def test_an_adapter_is_kept_as_a_small_folder_and_plays_from_there(base, tmp_path):
    policy = on(base)
    train(policy)
    saved = policy.save(tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.safetensors",
        "policy.json",
    ]
    assert (saved.base, saved.weights) == (base.hash, policy.hash)
    again = policy.save(tmp_path / "again")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "kept" / name).read_bytes() == (
            tmp_path / "again" / name
        ).read_bytes()
    assert again.optimizer == saved.optimizer
    loaded = Policy.load(tmp_path / "kept", saved, base=base)
    agent = make_agent({"id": base.reference, "adapter": str(tmp_path / "kept")})
    assert loaded.hash == agent.policy == policy.hash
    assert agent.spec.options["adapter"] == str(tmp_path / "kept")
    replies = [r.text for r in policy.agent.act(views())]
    assert [r.text for r in loaded.agent.act(views())] == replies
    assert [r.text for r in agent.act(views())] == replies
    trained_on = Policy.from_reference({"id": base.reference, "adapter": tmp_path / "kept"})
    assert set(trained_on.trained_weights()) == set(policy.trained_weights())


def test_peft_itself_reads_what_is_kept(base, tmp_path):
    from peft import PeftModel  # noqa: PLC0415 - takes seconds

    policy = on(base)
    train(policy)
    policy.save(tmp_path / "kept")
    plain = LlamaForCausalLM.from_pretrained(base.reference)
    with deprecations_hidden():
        theirs = PeftModel.from_pretrained(plain, tmp_path / "kept").train(False)
    with torch.no_grad():
        torch.testing.assert_close(theirs(IDS).logits, logits(policy))


def test_an_adapter_of_another_base_is_refused(base, scratch, tmp_path):
    policy = on(base)
    saved = policy.save(tmp_path / "kept")
    other = shared_base(str(scratch))
    with pytest.raises(InvalidOption, match=r"was trained on .* but .* has .* here"):
        Policy.load(tmp_path / "kept", saved, base=other)
    with pytest.raises(InvalidOption, match="was trained on the base"):
        read_adapter(other, tmp_path / "kept")
    with pytest.raises(InvalidOption, match="was trained on the base"):
        TransformerAgent(str(scratch), adapter=tmp_path / "kept")
    elsewhere = msgspec.structs.replace(saved, reference=str(scratch))
    with pytest.raises(RecordDamaged, match="was trained on"):
        Policy.load(tmp_path / "kept", elsewhere)
    gone = msgspec.structs.replace(saved, reference=str(tmp_path / "gone"))
    with pytest.raises(RecordDamaged, match="base cannot be loaded"):
        Policy.load(tmp_path / "kept", gone)
    whole = Policy.from_reference(str(scratch))
    kept = whole.save(tmp_path / "whole")
    with pytest.raises(InvalidOption, match="stands on no base"):
        Policy.load(tmp_path / "whole", kept, base=base)


def test_bases_and_adapters_must_fit_each_other(base, scratch):
    with pytest.raises(InvalidOption, match="adapter=Lora"):
        Policy.from_reference(base.reference, base=base)
    with pytest.raises(InvalidOption, match="the base given is"):
        Policy.from_reference(str(scratch), adapter=Lora(), base=base)
    with pytest.raises(InvalidOption, match="no adapter fits"):
        on(base, targets=("no_such_layer",))
    with pytest.raises(ValidationError, match="lm_head would not be trained"):
        Lora(targets=("q_proj", "lm_head"))
    with pytest.raises(InvalidOption, match="no model that adapters could stand on"):
        shared_base("always-comply")
    assert set(on(base, targets=("q_proj",)).trained_weights()) < set(
        on(base).trained_weights()
    )


def test_files_that_cannot_be_trusted_or_used_are_refused(base, tmp_path):
    policy = on(base)
    saved = policy.save(tmp_path / "kept")
    weights = tmp_path / "kept" / "adapter_model.safetensors"
    for name in ("adapter_model.bin", "optimizer.pt", "deep/rng_state.pkl"):
        bad = tmp_path / "kept" / name
        bad.parent.mkdir(exist_ok=True)
        bad.write_bytes(b"never read")
        with pytest.raises(InvalidOption, match="pickled files"):
            read_adapter(base, tmp_path / "kept")
        with pytest.raises(RecordDamaged, match="pickled files"):
            Policy.load(tmp_path / "kept", saved)
        bad.unlink()
    settings = tmp_path / "kept" / "adapter_config.json"
    plain = settings.read_text()
    settings.write_text(json.dumps({**json.loads(plain), "peft_type": "IA3"}))
    with pytest.raises(InvalidOption, match="type IA3"):
        read_adapter(base, tmp_path / "kept")
    settings.write_text("{")
    with pytest.raises(InvalidOption, match="cannot be read"):
        read_adapter(base, tmp_path / "kept")
    settings.write_text(plain)
    tensors = load_file(weights)
    save_file({name: t[..., :1].contiguous() for name, t in tensors.items()}, weights)
    with pytest.raises(InvalidOption, match="other names or shapes"):
        read_adapter(base, tmp_path / "kept")
    weights.write_bytes(b"rubbish")
    with pytest.raises(InvalidOption, match="is not whole"):
        read_adapter(base, tmp_path / "kept")
    weights.unlink()
    with pytest.raises(InvalidOption, match="holds no adapter"):
        read_adapter(base, tmp_path / "kept")
    with pytest.raises(RecordDamaged, match="cannot be read"):
        Policy.load(tmp_path / "kept", saved)


def test_altered_weights_are_not_loaded(base, tmp_path):
    saved = on(base).save(tmp_path / "kept")
    weights = tmp_path / "kept" / "adapter_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(RecordDamaged, match="altered"):
        Policy.load(tmp_path / "kept", saved, base=base)


def test_a_twin_shares_every_weight(base):
    twin = base.twin()
    pairs = zip(twin.parameters(), base.model.parameters(), strict=True)
    assert all(one is other for one, other in pairs)
    assert twin.lm_head.weight is twin.model.embed_tokens.weight, "still tied"
    assert isinstance(base, SharedBase)
