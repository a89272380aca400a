"""A disk that fills up while a run works: said in one sentence, and resumed afterwards."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
from safetensors import SafetensorError

import superalign_training.policy.checkpoint_files as checkpoint_module
from superalign_agents import adapters
from superalign_env.errors import RecordFull
from superalign_env.store import Run, digest
from superalign_training.policy import Lora, Policy
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.state import write_memory


def rust_full(*args, **options):
    raise SafetensorError(
        "Error while serializing: I/O error: No space left on device (os error 28)"
    )


def full(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_checkpoint_without_room_is_named_and_leaves_nothing_behind(
    scratch, tmp_path, monkeypatch
):
    policy = Policy.from_reference(str(scratch))
    monkeypatch.setattr(type(policy.model), "save_pretrained", rust_full)
    with pytest.raises(RecordFull, match=r"no room left for .*kept-here.*--resume"):
        policy.save(tmp_path / "kept-here")
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_without_room_is_named(scratch, tmp_path, monkeypatch):
    policy = Policy.from_reference(str(scratch), adapter=Lora(rank=1))
    monkeypatch.setattr(adapters, "save_file", rust_full)
    with pytest.raises(RecordFull, match="adapted"):
        policy.save(tmp_path / "adapted")


def test_an_archive_without_room_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RecordFull, match="archive"):
        write_memory(tmp_path, "archive", {"found": []})


def test_a_run_that_found_no_room_goes_on_when_there_is_some(
    finished, speaking, tmp_path, monkeypatch, small
):
    settings = small(speaking, run_dir=tmp_path / "filled")
    written = []

    def sometimes_full(*args, **options):
        written.append(args)
        if len(written) == 3:
            rust_full()
        safetensors.torch.save_file(*args, **options)

    monkeypatch.setattr(checkpoint_module, "save_file", sometimes_full)
    with pytest.raises(RecordFull, match=r"checkpoints/.*--resume"):
        SelfPlay(**settings).run()
    with Run.open(tmp_path / "filled", readonly=True) as run:
        assert run.info.status == "failed"
    SelfPlay(**settings).run(resume=True)
    filled = tmp_path / "filled"
    with Run.open(finished, readonly=True) as one, Run.open(filled, readonly=True) as other:
        assert digest(one) == digest(other)
    told = [json.loads((run / "summary.json").read_text()) for run in (finished, filled)]
    assert told[0] == told[1]


def test_a_summary_without_room_is_named(finished, speaking, tmp_path, monkeypatch, small):
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RecordFull, match=r"summary\.json"):
        SelfPlay(**small(speaking, run_dir=tmp_path / "run")).run(resume=True)
