"""What a policy costs, what it can do without, and what it refuses."""

import msgspec
import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from superalign_agents.checkpoints import load_model, weights_hash
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption, RecordDamaged
from superalign_training.policy import Lora, Policy, memory_footprint

IDS = torch.arange(20, 36).reshape(2, 8)


def step(policy):
    """Take a step and return the bytes of the gradients that it is taken along."""
    gradients = []

    def count(optimizer, *_):
        stepped = [w for group in optimizer.param_groups for w in group["params"]]
        weights = {id(w): w for w in (*stepped, *policy.trained_weights().values())}
        gradients.append(sum(w.grad.nbytes for w in weights.values() if w.grad is not None))

    with policy.training():
        policy.values(IDS, torch.ones_like(IDS))
        optimizer = policy.optimizer(1e-2)
        handle = optimizer.register_step_pre_hook(count)
        logits, values = policy.forward(IDS, torch.ones_like(IDS))
        (logits.logsumexp(-1).mean() + values.mean()).backward()
        optimizer.step()
        handle.remove()
    return gradients[0]


@pytest.mark.parametrize("adapter", [None, Lora(rank=3)], ids=["whole", "lora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_is_what_training_really_takes(scratch, adapter, dtype):
    policy = Policy.from_reference(str(scratch), adapter=adapter, dtype=dtype)
    gradients = step(policy)
    memory = policy.memory_footprint(reference=True)
    weights = {w.data_ptr(): w.nbytes for w in policy.model.parameters()}
    heads = sum(w.nbytes for w in policy.head_weights().values())
    assert memory.weights + memory.shared == sum(weights.values()) + heads
    assert memory.gradients == gradients
    kept = {"step": 0, "exp_avg": 0, "exp_avg_sq": 0, "master": 0}
    for name, tensor in policy.optimizer_state.moments().items():
        kept[name.partition(":")[0]] += tensor.nbytes
    assert memory.moments == kept["exp_avg"] + kept["exp_avg_sq"]
    assert memory.masters == kept["master"]
    assert bool(memory.masters) is (dtype == "bfloat16" and adapter is None)
    copied = {
        w.data_ptr(): w.nbytes
        for w in policy.reference_model().parameters()
        if w.data_ptr() not in weights
    }
    assert memory.reference == sum(copied.values())
    assert memory.total == sum(memory)


def test_memory_is_known_before_anything_is_loaded():
    """Three adapters of rank 16 on a base of half a billion against three whole models."""
    whole = memory_footprint(
        parameters=494_000_000, trained=494_000_000, dtype=torch.bfloat16
    )
    lora = memory_footprint(
        parameters=502_800_000, trained=8_800_000, dtype=torch.bfloat16, adapter=True
    )
    assert whole.total == 494_000_000 * (2 + 4 + 4 + 2 * 4)
    assert lora.shared == 494_000_000 * 2
    assert lora.total - lora.shared == 8_800_000 * 4 * 4


def test_parameters_are_counted_once(scratch):
    whole = Policy.from_reference(str(scratch))
    tied = {w.data_ptr(): w.numel() for w in whole.model.state_dict().values()}
    assert whole.parameters_total == whole.parameters_trained == sum(tied.values())
    whole.values(IDS, torch.ones_like(IDS))
    assert whole.parameters_trained == sum(tied.values()) + 16 + 1
    lora = Policy.from_reference(str(scratch), adapter=Lora(rank=1, targets=("q_proj",)))
    assert lora.parameters_trained == 16 + 16
    assert lora.parameters_total == sum(tied.values()) + 32


@pytest.mark.parametrize("adapter", [None, Lora(rank=2)], ids=["whole", "lora"])
def test_recomputing_activations_changes_no_gradient(scratch, adapter):
    said = []
    for recompute in (False, True):
        policy = Policy.from_reference(str(scratch), adapter=adapter, recompute=recompute)
        assert policy.model.is_activation_checkpointing is recompute
        with policy.training():
            policy.model(IDS, labels=IDS).loss.backward()
            said.append({n: w.grad.clone() for n, w in policy.model_weights().items()})
    assert said[0].keys() == said[1].keys()
    for name, gradient in said[0].items():
        torch.testing.assert_close(gradient, said[1][name])


def test_what_belongs_to_the_machine_is_a_setting_and_no_part_of_a_checkpoint(
    scratch, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(LlamaForCausalLM, "compile", lambda _, **how: asked.append(how))
    start = {"id": str(scratch), "recompute": True, "compiled": True}
    for name, adapter in (("whole", None), ("lora", Lora(rank=2))):
        policy = Policy.from_reference(start, adapter=adapter)
        assert policy.model.is_activation_checkpointing
        saved = policy.save(tmp_path / name)
        assert not {"device", "recompute", "compiled"} & set(saved.options)
        assert not Policy.load(tmp_path / name, saved).model.is_activation_checkpointing
        loaded = Policy.load(tmp_path / name, saved, recompute=True, compiled=True)
        assert loaded.model.is_activation_checkpointing
        assert loaded.hash == policy.hash
    assert asked == [{"dynamic": True}] * 4


def test_training_leaves_nothing_behind(scratch):
    policy = Policy.from_reference(str(scratch))
    reference = policy.reference_model()
    before = policy.agent.policy
    with pytest.raises(KeyboardInterrupt), policy.training() as model:
        assert model.training
        for patched in (model, reference):
            patched.forward = lambda *_, **__: None  # as trainers do
        model.lm_head.weight.data += 1
        model.lm_head.weight.grad = torch.ones_like(model.lm_head.weight)
        raise KeyboardInterrupt
    assert not policy.model.training
    assert policy.model(IDS).logits is not None
    assert reference(IDS).logits is not None
    assert policy.model.lm_head.weight.grad is None
    assert policy.agent.policy != before


def test_the_reference_is_the_untrained_original_however_late_it_is_asked_for(
    scratch, tmp_path
):
    original = weights_hash(load_model(scratch, device="cpu"))
    policy = Policy.from_reference(str(scratch))
    early = policy.reference_model()
    step(policy)
    assert weights_hash(policy.reference_model()) == original == weights_hash(early)
    policy.forget_reference()
    assert policy.reference_model() is not early
    assert weights_hash(policy.reference_model()) == original
    saved = policy.save(tmp_path / "kept")
    loaded = Policy.load(tmp_path / "kept", saved)
    assert weights_hash(loaded.reference_model()) == original != loaded.hash


def test_an_original_that_is_gone_is_missed_with_a_word(scratch, tmp_path):
    agent = TransformerAgent(
        load_model(scratch, device="cpu"), tokenizer=AutoTokenizer.from_pretrained(scratch)
    )
    policy = Policy(agent)
    step(policy)
    with pytest.raises(InvalidOption, match=r"cannot be loaded .* before training"):
        policy.reference_model()
    saved = Policy.from_reference(str(scratch)).save(tmp_path / "kept")
    moved = Policy.from_reference(str(tmp_path / "kept"))
    step(moved)
    moved.save(tmp_path / "kept")
    with pytest.raises(InvalidOption, match="has other weights now"):
        moved.reference_model()
    assert saved.original == saved.weights


def test_a_tokenizer_without_padding_pads_with_its_end(scratch):
    agent = TransformerAgent(scratch)
    agent.tokenizer.pad_token = None
    with pytest.warns(RuntimeWarning, match="no padding token"):
        policy = Policy(agent)
    assert policy.tokenizer.pad_token == policy.tokenizer.eos_token


def test_a_checkpoint_with_other_words_is_refused(scratch, tmp_path):
    saved = Policy.from_reference(str(scratch)).save(tmp_path / "kept")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(tmp_path / "kept")
    with pytest.raises(RecordDamaged, match="its tokenizer is not what the record names"):
        Policy.load(tmp_path / "kept", saved)
    tokenizer.add_tokens(["entirely", "new"])
    tokenizer.save_pretrained(tmp_path / "kept")
    with pytest.raises(RecordDamaged, match="do not belong together"):
        Policy.load(tmp_path / "kept", saved)


@pytest.mark.parametrize("name", ["optimizer.pt", "pytorch_model.bin", "state.pkl"])
def test_a_checkpoint_with_pickled_files_is_refused(scratch, tmp_path, name):
    saved = Policy.from_reference(str(scratch)).save(tmp_path / "kept")
    (tmp_path / "kept" / name).write_bytes(b"never read")
    with pytest.raises(RecordDamaged, match=f"pickled files .{name}"):
        Policy.load(tmp_path / "kept", saved)


def test_a_missing_or_altered_file_is_named(scratch, tmp_path):
    policy = Policy.from_reference(str(scratch))
    step(policy)
    saved = policy.save(tmp_path / "kept")
    with pytest.raises(RecordDamaged, match="altered"):
        Policy.load(tmp_path / "kept", msgspec.structs.replace(saved, weights="0" * 32))
    with pytest.raises(RecordDamaged, match="cannot be read"):
        Policy.load(tmp_path / "nowhere", saved)
    for name in ("value_head.safetensors", "optimizer.safetensors"):
        raw = (tmp_path / "kept" / name).read_bytes()
        (tmp_path / "kept" / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        with pytest.raises(RecordDamaged, match=f"its {name} is not what"):
            Policy.load(tmp_path / "kept", saved)
        (tmp_path / "kept" / name).unlink()
        with pytest.raises(RecordDamaged, match="cannot be read"):
            Policy.load(tmp_path / "kept", saved)
        (tmp_path / "kept" / name).write_bytes(raw)
    assert Policy.load(tmp_path / "kept", saved).hash == policy.hash
    for name in ("policy.json", "config.json", "model.safetensors"):
        raw = (tmp_path / "kept" / name).read_bytes()
        (tmp_path / "kept" / name).unlink()
        with pytest.raises(RecordDamaged, match="cannot be read"):
            Policy.load(tmp_path / "kept")
        (tmp_path / "kept" / name).write_bytes(raw)


def test_moments_of_other_weights_are_refused(scratch, tmp_path):
    policy = Policy.from_reference(str(scratch))
    step(policy)
    saved = policy.save(tmp_path / "kept")
    headless = msgspec.structs.replace(saved, head="")
    with pytest.raises(RecordDamaged, match="remembers another value_head"):
        Policy.load(tmp_path / "kept", headless)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("adapter", [None, Lora(rank=2)], ids=["whole", "lora"])
def test_a_policy_lives_and_is_loaded_where_it_is_told(scratch, tmp_path, adapter):
    policy = Policy.from_reference(str(scratch), adapter=adapter, device="cuda")
    ids = IDS.to("cuda")
    with policy.training() as model:
        optimizer = policy.optimizer(1e-2)
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    saved = policy.save(tmp_path / "kept")
    for device in ("cuda", "cpu"):
        loaded = Policy.load(tmp_path / "kept", saved, device=device)
        assert loaded.model.device.type == device
        assert loaded.hash == policy.hash
        weights = loaded.trained_weights().values()
        assert {w.device.type for w in weights} == {device}
        states = loaded.optimizer(1e-2).state.values()
        assert {state["exp_avg"].device.type for state in states} == {device}
