"""The files that a record names: missing, altered, or without a hash."""

import pytest

from superalign_env.store import Run, not_sealed, validate
from superalign_env.store.files import file_hash

FILES = {
    "checkpoints/learner/model.safetensors": b"weights" * 1000,
    "checkpoints/learner/optimizer.safetensors": b"moments",
    "checkpoints/learner/policy.json": b"{}",
    "checkpoints/archive.json": b'{"found": []}',
}


@pytest.fixture
def run(tmp_path):
    """A run whose one stage left a checkpoint and a memory."""
    folder = tmp_path / "run"
    for name, content in FILES.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    marks = {name: file_hash(folder / name) for name in FILES}
    learner = {
        "path": "checkpoints/learner",
        "weights": "what the model hashes to",
        "optimizer": marks["checkpoints/learner/optimizer.safetensors"],
        "head": "",
        "files": {"model.safetensors": marks["checkpoints/learner/model.safetensors"]},
    }
    memory = {"path": "checkpoints/archive.json", "hash": marks["checkpoints/archive.json"]}
    with Run.create(folder, kind="train", config={}, seed=0) as run:
        stage = run.stages.begin("learn")
        chain = {"policies": {"learner": learner}, "memories": {"archive": memory}}
        run.stages.finish(stage.id, outputs={"chain": chain})
        yield run


def test_files_as_written_are_no_problem(run):
    seen = []
    assert validate(run, lambda done, total: seen.append((done, total))) == []
    hashed = sum(len(content) for name, content in FILES.items() if "policy" not in name)
    assert seen[-1] == (hashed, hashed)
    assert {"metrics", "policy.json of 1 checkpoints"} <= {*not_sealed(run)}
    assert "the stage that an episode is of" in not_sealed(run)
    assert not any("weights" in part for part in not_sealed(run))


@pytest.mark.parametrize("name", [name for name in FILES if "policy" not in name])
def test_a_flipped_bit_is_found(run, name):
    raw = bytearray(FILES[name])
    raw[3] ^= 1
    (run.path / name).write_bytes(raw)
    assert [p.what for p in validate(run)] == [f"{name} was altered after it was written"]


@pytest.mark.parametrize("name", [name for name in FILES if "policy" not in name])
def test_a_missing_file_is_found_once(run, name):
    (run.path / name).unlink()
    (problem,) = validate(run)
    assert problem.kind == "checkpoint" and name in problem.what


def test_a_missing_checkpoint_is_one_problem(run):
    (run.path / "checkpoints/learner").rename(run.path / "elsewhere")
    (problem,) = validate(run)
    assert "checkpoints/learner is missing" in problem.what


@pytest.mark.parametrize("name", ["generation_config.json", "deep/policy.json"])
def test_a_file_that_was_added_to_a_checkpoint_is_found(run, name):
    added = run.path / "checkpoints/learner" / name
    added.parent.mkdir(exist_ok=True)
    added.write_text("{}")
    (problem,) = validate(run)
    assert problem.kind == "checkpoint"
    assert problem.what.startswith(f"checkpoints/learner/{name} was added")


def test_weights_that_nothing_vouches_for_are_named(tmp_path):
    with Run.create(tmp_path / "old", kind="train", config={}, seed=0) as run:
        (run.path / "checkpoints/learner").mkdir(parents=True)
        stage = run.stages.begin("learn")
        learner = {"path": "checkpoints/learner", "weights": "w", "optimizer": ""}
        run.stages.finish(stage.id, outputs={"learner": learner})
        assert validate(run) == []
        assert "weights of 1 checkpoints, by an earlier version" in not_sealed(run)
