"""Model folders that are hostile, damaged or incomplete: one sentence, before anything is built."""

import json
import os
import shutil
import struct
import zipfile

import pytest
import torch
import transformers
from msgspec.structs import replace
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from superalign_agents.adapters import (
    SETTINGS,
    WEIGHTS,
    SharedBase,
    fresh_adapter,
    read_adapter,
)
from superalign_agents.checkpoints import load_model, load_tokenizer
from superalign_agents.transformer import TransformerAgent
from superalign_env.errors import InvalidOption
from superalign_env.testing.agent_check import example_views
from superalign_training.ladder.micro_model import build_tokenizer

TOKENIZER = build_tokenizer(("ann", "will", "cut"), ("<|pad|>", "<|end|>", "<|user|>"))
SIZES = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
MODEL = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "original"
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "model")


def edited(name, **changes):
    def edit(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return edit


def written(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def indexed(name):
    """Replace the weights by an index that names one file for all of them."""

    def edit(folder):
        weights = load_file(folder / MODEL)
        (folder / MODEL).rename(folder / "model-00001-of-00001.safetensors")
        index = {"metadata": {}, "weight_map": dict.fromkeys(weights, name)}
        (folder / INDEX).write_text(json.dumps(index))

    return edit


def pickled(name):
    return lambda folder: torch.save(Evil(), folder / name)


def without(*parts):
    def edit(folder):
        weights = load_file(folder / MODEL)
        kept = {k: v for k, v in weights.items() if not any(part in k for part in parts)}
        assert len(kept) < len(weights)
        save_file(kept, folder / MODEL, {"format": "pt"})

    return edit


def linked(name):
    def edit(folder):
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return edit


def header(entries):
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw


def header_changed(**changes):
    """Change the first tensor's entry in the header."""

    def edit(folder):
        raw = (folder / MODEL).read_bytes()
        length = struct.unpack("<Q", raw[:8])[0]
        entries = json.loads(raw[8 : 8 + length])
        name = next(key for key in entries if key != "__metadata__")
        entries[name] |= changes
        (folder / MODEL).write_bytes(header(entries) + raw[8 + length :])

    return edit


def cut(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def own_code(folder):
    edited("config.json", auto_map={"AutoModelForCausalLM": "sly.Sly"})(folder)
    (folder / "sly.py").write_text("raise SystemExit('ran foreign code')")


def zipped(folder):
    with zipfile.ZipFile(folder / MODEL, "w") as archive:
        archive.writestr("data.pkl", b"x")


def mamba(folder):
    torch.manual_seed(0)
    sizes = {key: SIZES[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers")}
    MambaForCausalLM(MambaConfig(**sizes, state_size=4)).save_pretrained(folder)


REFUSED = {
    "an index that names a pickle": (indexed("pytorch_model.bin"), "index.json names 'pyt"),
    "an index that leaves the folder": (
        indexed("../x.safetensors"),
        "index.json names '../x",
    ),
    "an index with an absolute path": (indexed("/x.safetensors"), "index.json names '/x"),
    "an index of what is not there": (indexed("b.safetensors"), "b.safetensors is missing"),
    "an index of numbers": (indexed(5), "index.json names '5'"),
    "an index without a map": (
        lambda f: (indexed("x")(f), edited(INDEX, weight_map=[])(f)),
        "index.json has no weight_map",
    ),
    "a pickle beside": (pickled("pytorch_model.bin"), "pytorch_model.bin is pickled"),
    "a checkpoint beside": (
        pickled("consolidated.00.PTH"),
        "consolidated.00.PTH is pickled",
    ),
    "a pickled vocabulary": (pickled("vocab.pkl"), "vocab.pkl is pickled"),
    "a pickle in disguise": (pickled(MODEL), "model.safetensors is a pickled"),
    "a zip in disguise": (zipped, "model.safetensors is a pickled"),
    "GGUF in disguise": (
        written(MODEL, b"GGUF" + bytes(99)),
        "model.safetensors is a GGUF",
    ),
    "a pointer of git-lfs": (written(MODEL, b"version https://git-lfs"), "git-lfs: run"),
    "code": (own_code, "sly.py is code that came with a model"),
    "code of the hub": (
        edited("config.json", _attn_implementation="kernels-community/flash"),
        "config.json asks for code of the hub",
    ),
    "an adapter among the files": (
        written("adapter_config.json", b"{}"),
        "adapter_config.json makes this",
    ),
    "weights behind a link": (linked(MODEL), "model.safetensors is a link"),
    "a tokenizer behind a link": (linked("tokenizer.json"), "tokenizer.json is a link"),
    "a folder for weights": (
        lambda f: ((f / MODEL).unlink(), (f / MODEL).mkdir()),
        "model.safetensors is no plain file",
    ),
    "a pipe for a tokenizer": (
        lambda f: ((f / "tokenizer.json").unlink(), os.mkfifo(f / "tokenizer.json")),
        "tokenizer.json is no plain file",
    ),
    "a billion labels": (edited("config.json", num_labels=10**9), "num_labels is 10000"),
    "a length in words": (
        edited("tokenizer_config.json", model_max_length="x"),
        "model_max_length is 'x'",
    ),
    "truncated weights": (cut(MODEL, -100), "model.safetensors is not whole"),
    "a truncated header": (cut(MODEL, 50), "model.safetensors is not whole"),
    "empty weights": (cut(MODEL, 0), "model.safetensors is not whole"),
    "no weights": (lambda f: (f / MODEL).unlink(), "holds neither model.safetensors nor"),
    "a header of lies": (header_changed(shape=[1 << 40, 1 << 20]), "no safetensors file"),
    "negative shapes": (header_changed(shape=[-1, -16]), "no safetensors file"),
    "an unknown type": (header_changed(dtype="F7"), "no safetensors file"),
    "offsets of lies": (header_changed(data_offsets=[0, 8]), "no safetensors file"),
    "a header of text": (written(MODEL, header("x")), "no safetensors file"),
    "a deep header": (
        written(MODEL, struct.pack("<Q", 99999) + b"[" * 99999),
        "no safetensors file",
    ),
    "no configuration": (lambda f: (f / "config.json").unlink(), "holds no config.json"),
    "half a configuration": (cut("config.json", 40), "config.json cannot be read"),
    "a configuration of bytes": (
        written("config.json", b"\xff\xfe"),
        "config.json cannot be",
    ),
    "a deep configuration": (written("config.json", b"[" * 99999), "config.json cannot be"),
    "a list as configuration": (
        written("config.json", b"[]"),
        "config.json is no JSON object",
    ),
    "no architecture": (
        edited("config.json", model_type=None),
        "config.json names no model_t",
    ),
    "an unknown one": (edited("config.json", model_type="sly"), "cannot be loaded"),
    "a size in words": (
        edited("config.json", hidden_size="x"),
        "cannot be loaded.*hidden_size",
    ),
    "a negative size": (edited("config.json", hidden_size=-16), "hidden_size is -16"),
    "a size that is no whole number": (
        edited("config.json", vocab_size=2.5),
        "vocab_size is",
    ),
    "heads of nothing": (
        edited("config.json", num_attention_heads=0),
        "attention_heads is 0",
    ),
    "a billion layers": (
        edited("config.json", num_hidden_layers=10**9),
        "num_hidden_layers is 1000000000, but the weights are 21 tensors",
    ),
    "a huge vocabulary": (edited("config.json", vocab_size=10**12), "vocab_size is 10000"),
    "another size": (
        edited("config.json", hidden_size=32),
        "weights of other sizes.*lm_head",
    ),
    "an unknown activation": (edited("config.json", hidden_act="sly"), "cannot be loaded"),
    "odd positions": (edited("config.json", rope_scaling="x"), "cannot be loaded"),
    "ends that are no tokens": (
        edited("generation_config.json", eos_token_id=[1, "x"]),
        "generation_config.json: eos_token_id",
    ),
    "half of the ends": (
        written("generation_config.json", b"{"),
        "generation_config.json can",
    ),
    "no head": (without("lm_head"), r"misses weights \(lm_head.weight\)"),
    "no second layer": (without("layers.1."), r"misses weights .*layers.1.* and 6 more"),
    "no memory of the past": (mamba, "is a MambaForCausalLM, which keeps a state"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "holds no tokenizer"),
    "half a tokenizer": (cut("tokenizer.json", 99), "tokenizer.json cannot be read"),
    "an empty tokenizer": (cut("tokenizer.json", 0), "tokenizer.json cannot be read"),
    "a wrong tokenizer": (
        written("tokenizer.json", b'{"a": 1}'),
        "tokenizer.json or a file",
    ),
    "a list as tokenizer": (
        written("tokenizer.json", b"[]"),
        "tokenizer.json is no JSON obj",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_cannot_be_loaded_safely_costs_one_sentence(folder, case):
    change, message = REFUSED[case]
    change(folder)
    with pytest.raises(InvalidOption, match=message) as refusal:
        TransformerAgent(folder)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("architecture", ["Mamba", "Jamba", "Rwkv", "RecurrentGemma"])
def test_a_loaded_model_without_keys_and_values_is_refused_by_name(architecture):
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=len(TOKENIZER), hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(InvalidOption, match=f"is a {architecture}.*KV cache"):
        TransformerAgent(model, tokenizer=TOKENIZER)


def test_what_is_named_wrongly_is_no_model_of_the_hub(tmp_path):
    for name in (str(tmp_path / "nowhere"), "no/such-model"):
        with pytest.raises(InvalidOption, match="no folder here, and no model of the hub"):
            load_model(name, device="cpu")
        with pytest.raises(InvalidOption, match="no folder here, and no model of the hub"):
            load_tokenizer(name)


def test_shards_and_what_a_trainer_leaves_behind_are_no_obstacle(folder):
    indexed("model-00001-of-00001.safetensors")(folder)
    pickled("training_args.bin")(folder)
    assert TransformerAgent(folder).policy


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_weights_that_are_no_numbers_fail_each_reply_in_words(folder, temperature):
    weights = load_file(folder / MODEL)
    save_file({k: v * float("nan") for k, v in weights.items()}, folder / MODEL)
    agent = TransformerAgent(folder, temperature=temperature)
    (reply,) = agent.act([replace(example_views()[0], text="ann", max_new_tokens=4)])
    assert "its logits are no numbers" in reply.error and reply.policy


def test_weights_that_nothing_reads_are_named(folder):
    edited("config.json", num_hidden_layers=1)(folder)
    with pytest.warns(RuntimeWarning, match=r"does not read: model.layers.1.*and 6 more"):
        load_model(folder, device="cpu")


ADAPTERS = {
    "pickled": (lambda f: (f / WEIGHTS).rename(f / "adapter_model.bin"), "pickled files"),
    "truncated": (cut(WEIGHTS, -9), "adapter_model.safetensors is not whole"),
    "a pickle in disguise": (pickled(WEIGHTS), "adapter_model.safetensors is a pickled"),
    "a huge rank": (edited(SETTINGS, r=10**9), "says rank 1000000000"),
    "a rank in words": (edited(SETTINGS, r="x"), "says rank x"),
    "modules by name": (edited(SETTINGS, megatron_config={"a": 1}), "sets megatron_config"),
    "a million layers": (
        edited(SETTINGS, layer_replication=[[0, 10**6]]),
        "sets layer_repl",
    ),
    "no target": (edited(SETTINGS, target_modules=["sly"]), "no adapter fits"),
    "a bad pattern": (edited(SETTINGS, target_modules="("), "no adapter fits"),
    "half the settings": (cut(SETTINGS, 30), "adapter_config.json cannot be read"),
    "other settings": (written(SETTINGS, b"[]"), "adapter_config.json cannot be read"),
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_that_cannot_be_loaded_safely_costs_one_sentence(folder, tmp_path, case):
    base = SharedBase(load_model(folder, device="cpu"), TOKENIZER, reference="base")
    where = tmp_path / "adapter"
    fresh_adapter(base, LoraConfig(r=2, target_modules=["q_proj"]), seed=0).save(where)
    assert read_adapter(base, where)
    change, message = ADAPTERS[case]
    change(where)
    with pytest.raises(InvalidOption, match=message):
        read_adapter(base, where)
