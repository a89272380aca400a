"""The cache of small models: copies are independent, and changed files are read again."""

import shutil

import pytest
import torch

from superalign_agents import model_cache
from superalign_agents.checkpoints import load_model, load_tokenizer, weights_hash
from superalign_agents.ladders import RungReference, rung_folder
from superalign_agents.model_cache import cached


def test_a_copy_is_what_was_read_and_knows_nothing_of_other_copies():
    folder = rung_folder(RungReference("micro", 0, 0))
    first = load_model(folder, device="cpu")
    before = weights_hash(first)
    with torch.no_grad():
        for weight in first.parameters():
            weight.add_(1.0)
    second = load_model(folder, device="cpu")
    assert weights_hash(second) == before != weights_hash(first)
    tied = second.get_input_embeddings().weight, second.get_output_embeddings().weight
    assert tied[0].data_ptr() == tied[1].data_ptr()
    one, other = load_tokenizer(folder), load_tokenizer(folder)
    one.padding_side = "left" if other.padding_side == "right" else "right"
    assert load_tokenizer(folder).padding_side == other.padding_side


def test_files_that_changed_are_read_again(tmp_path):
    reads = []

    def read():
        reads.append((tmp_path / "file").read_text())
        return list(reads[-1])

    (tmp_path / "file").write_text("a")
    assert cached(tmp_path, read) == cached(tmp_path, read) == ["a"]
    assert len(reads) == 1
    (tmp_path / "file").write_text("bb")
    assert cached(tmp_path, read) == ["b", "b"]
    shutil.rmtree(tmp_path / "file", ignore_errors=True)
    assert cached(tmp_path, read, "otherwise") == ["b", "b"]
    assert len(reads) == 3


def test_large_models_and_names_on_the_hub_are_not_kept(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(model_cache, "MAX_BYTES", 3)
    (tmp_path / "file").write_text("four")
    for source in (tmp_path, tmp_path, "org/name", "org/name"):
        cached(source, lambda: reads.append(1))
    assert len(reads) == 4


def test_little_is_kept(tmp_path):
    for n in range(model_cache._MAX_ENTRIES + 5):
        folder = tmp_path / str(n)
        folder.mkdir()
        cached(folder, lambda: [1])
    assert len(model_cache._objects) <= model_cache._MAX_ENTRIES


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_another_type_is_another_model(dtype):
    folder = rung_folder(RungReference("micro", 0, 0))
    assert load_model(folder, device="cpu", dtype=dtype).dtype == dtype


def test_a_model_of_a_known_shape_is_what_transformers_would_have_read(
    tmp_path, monkeypatch
):
    folder = rung_folder(RungReference("micro", 0, 0))
    model = load_model(folder, device="cpu")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.5)
    model.save_pretrained(tmp_path / "other")
    refilled = load_model(tmp_path / "other", device="cpu")
    monkeypatch.setattr(model_cache, "_objects", type(model_cache._objects)())
    monkeypatch.setattr(model_cache, "_architectures", type(model_cache._architectures)())
    read = load_model(tmp_path / "other", device="cpu")
    assert weights_hash(refilled) == weights_hash(read) == weights_hash(model)
    assert refilled.config.to_dict() == read.config.to_dict()
    assert refilled.generation_config.to_dict() == read.generation_config.to_dict()
    ids = torch.arange(1, 9)[None]
    with torch.no_grad():
        assert torch.equal(refilled(ids).logits, read(ids).logits)
    buffers = [dict(m.named_buffers()) for m in (refilled, read)]
    assert buffers[0].keys() == buffers[1].keys()
    assert all(torch.equal(b, buffers[1][name]) for name, b in buffers[0].items())
    states = [
        [(p.dtype, p.requires_grad) for p in m.parameters()] for m in (refilled, read)
    ]
    assert states[0] == states[1] and refilled.training == read.training


def test_weights_of_another_shape_are_read_by_transformers(tmp_path):
    one, other = (rung_folder(RungReference("micro", n, 0)) for n in (0, 1))
    shutil.copytree(other, tmp_path / "mixed")
    load_model(other, device="cpu")
    weights = load_model(one, device="cpu").state_dict()
    assert model_cache._with_weights(load_model(other, device="cpu"), one) is None
    assert weights
