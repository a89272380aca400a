"""The files that a record names: missing, altered, or without a hash."""

import json
import os

import pytest

from superalign_env.store import Run, validate
from superalign_env.store.files import file_hash

STATE = "checkpoints/learner/policy.json"
FILES = {
    "checkpoints/learner/model.safetensors": b"weights" * 1000,
    "checkpoints/learner/optimizer.safetensors": b"moments",
    "checkpoints/archive.json": b'{"found": []}',
}


@pytest.fixture
def run(tmp_path):
    """A run whose one stage left a checkpoint and a memory."""
    folder = tmp_path / "run"
    Run.create(folder, kind="train", config={}, seed=0).close()
    for name, content in FILES.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    marks = {name: file_hash(folder / name) for name in FILES}
    learner = {
        "path": "checkpoints/learner",
        "weights": "what the model hashes to",
        "options": {"temperature": 0.5},
        "agent": "the row that it was entered as",
        "optimizer": marks["checkpoints/learner/optimizer.safetensors"],
        "updates": 0,
        "files": {"model.safetensors": marks["checkpoints/learner/model.safetensors"]},
    }
    own = {**learner, "path": "learner", "agent": ""}
    (folder / STATE).write_text(json.dumps(own))
    memory = {"path": "checkpoints/archive.json", "hash": marks["checkpoints/archive.json"]}
    with Run.open(folder) as run:
        stage = run.stages.begin("learn")
        chain = {"policies": {"learner": learner}, "memories": {"archive": memory}}
        run.stages.finish(stage.id, outputs={"chain": chain})
        yield run


def test_files_as_written_are_no_problem(run):
    seen = []
    assert validate(run, lambda done, total: seen.append((done, total))) == []
    hashed = sum(
        (run.path / name).stat().st_size for name in (*FILES, STATE, "config.yaml")
    )
    assert seen[-1] == (hashed, hashed)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(run, name):
    raw = bytearray(FILES[name])
    raw[3] ^= 1
    (run.path / name).write_bytes(raw)
    assert [p.what for p in validate(run)] == [f"{name} was altered after it was written"]


@pytest.mark.parametrize("name", [STATE, "config.yaml", "report.html"])
def test_a_pipe_in_the_place_of_a_file_is_named_and_not_read(run, name):
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)
    assert name in " ".join(problem.what for problem in validate(run))


@pytest.mark.parametrize(
    "name", ["a" * 300, "a/" * 3000, "/proc", "/", "..", "../..", ".", "a\0b"]
)
def test_a_path_that_is_no_file_of_the_run_stops_no_stage(tmp_path, name):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=1) as run:
        stage = run.stages.begin("improve")
        run.stages.finish(stage.id, outputs={"policy": {"path": name}})
        assert run.files.all().keys() == {"config.yaml"}
        validate(run)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found_once(run, name):
    (run.path / name).unlink()
    (problem,) = validate(run)
    assert problem.kind == "checkpoint" and name in problem.what


@pytest.mark.parametrize("change", [{"options": {}}, {"updates": 7}, {"agent": "another"}])
def test_a_checkpoint_that_says_something_else_of_itself_is_found(run, change):
    own = json.loads((run.path / STATE).read_text())
    (run.path / STATE).write_text(json.dumps({**own, **change}))
    found = [f"{STATE} was altered after it was written"]
    assert [problem.what for problem in validate(run)] == found


@pytest.mark.parametrize("broken", [b"", b"[]", b"{", b"\xff"])
def test_a_checkpoint_that_says_nonsense_of_itself_is_found(run, broken):
    (run.path / STATE).write_bytes(broken)
    (problem,) = validate(run)
    assert problem.kind == "checkpoint" and f"{STATE} was altered" in problem.what


def test_a_checkpoint_that_says_nothing_of_itself_is_found(run):
    (run.path / STATE).unlink()
    (problem,) = validate(run)
    assert problem.what == f"{STATE} is missing, and the record names it"


def test_a_missing_checkpoint_is_one_problem(run):
    (run.path / "checkpoints/learner").rename(run.path.parent / "elsewhere")
    (problem,) = validate(run)
    assert "checkpoints/learner is missing" in problem.what


@pytest.mark.parametrize("name", ["generation_config.json", "deep/policy.json"])
def test_a_file_that_was_added_to_a_checkpoint_is_found(run, name):
    added = run.path / "checkpoints/learner" / name
    added.parent.mkdir(exist_ok=True)
    added.write_text("{}")
    (problem,) = validate(run)
    assert problem.kind == "checkpoint"
    top = name.partition("/")[0]
    assert problem.what.startswith(f"checkpoints/learner/{top} was added")
