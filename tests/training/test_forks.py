"""A run goes on elsewhere with other settings; what was done before stays as it was."""

import shutil

import pytest

from superalign_env.errors import InvalidOption, RecordDamaged, RecordError
from superalign_env.store import Run, digest, validate
from superalign_training.cli.forks import fork
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.settings import Settings


@pytest.fixture(scope="module")
def source(speaking, tmp_path_factory, small):
    """A finished run of two rounds."""
    path = tmp_path_factory.mktemp("source") / "run"
    SelfPlay(**small(speaking, run_dir=path, rounds=2)).run()
    return path


def summed(path):
    with Run.open(path, readonly=True) as run:
        assert validate(run) == []
        found = digest(run)
    return {name: found[name] for name in found if name not in ("run", "settings")}


def copied(source, tmp_path):
    shutil.copytree(source, tmp_path / "source")
    return tmp_path / "source"


def test_a_fork_that_changes_nothing_comes_to_the_same(source, tmp_path):
    fork(source, tmp_path / "fork", at=1).run(resume=True)
    assert summed(tmp_path / "fork") == summed(source)
    with Run.open(tmp_path / "fork", readonly=True) as run, Run.open(source, True) as old:
        assert run.info.parent == old.info.id
        assert run.info.inherited == "0007-alarms"
        assert run.info.status == "done"


def test_a_fork_goes_on_with_other_settings_and_keeps_what_was_before(source, tmp_path):
    made = fork(source, tmp_path / "fork", at=1, train={"learner": {"steps": 1}}, rounds=3)
    (learning,) = made.settings.train["learner"]
    assert learning.steps == 1
    assert (learning.batch_size, learning.num_generations) == (3, 2), (
        "the rest is as it was"
    )
    made.run(resume=True)
    with Run.open(tmp_path / "fork", readonly=True) as run, Run.open(source, True) as old:
        ours, theirs = run.stages.all(), old.stages.all()
        assert [s.round for s in ours if s.name == "improve-learner"] == [1, 2, 3]
        assert ours[:7] == theirs[:7]
        assert ours[7].inputs["settings"] != theirs[7].inputs["settings"]
        rows = [row for row in run.metrics.read() if row.stage == ours[3].id]
        assert rows == [row for row in old.metrics.read() if row.stage == theirs[3].id]
        (learning,) = run.info.config["train"]["learner"]
        assert learning["steps"] == 1
        assert validate(run) == []


def test_of_several_algorithms_all_are_written_anew(tmp_path):
    several = [{"id": "sft", "steps": 3}, {"id": "reinforce", "steps": 3}]
    config = Settings(train={"attacker": several}).model_dump(mode="json")
    path = tmp_path / "run"
    Run.create(path, kind="train", config=config, seed=0).close()
    with pytest.raises(
        InvalidOption, match=r"attacker has 2 algorithms.*\[\{id: …, steps: …"
    ):
        fork(path, tmp_path / "fork", train={"attacker": {"steps": 1}})
    with pytest.raises(RecordError, match="finished no round"):
        fork(path, tmp_path / "fork", train={"attacker": {"id": "ppo"}})


def test_an_interrupted_fork_resumes_and_can_be_forked_again(source, tmp_path):
    fork(source, tmp_path / "one", at=0, train={"learner": {"steps": 1}}).run(resume=True)
    again = fork(tmp_path / "one", tmp_path / "two", stage="0004-improve-learner")
    again.run(resume=True)
    assert summed(tmp_path / "two") == summed(tmp_path / "one")
    with pytest.raises(RecordError, match=r"made with budget=0\.3, not 0\.0"):
        SelfPlay.of(again.settings.model_copy(update={"budget": 0.0})).run(resume=True)


def test_what_cannot_be_forked_is_said_before_anything_is_made(source, tmp_path):
    new = tmp_path / "fork"
    with pytest.raises(RecordError, match="no run at"):
        fork(tmp_path / "nowhere", new)
    with pytest.raises(RecordError, match="no stage '0077-gate'"):
        fork(source, new, stage="0077-gate")
    with pytest.raises(RecordError, match=r"finished no round 7, but 0, 1, 2"):
        fork(source, new, at=7)
    with pytest.raises(RecordError, match="is the run that is forked"):
        fork(source, source)
    with pytest.raises(RecordError, match="no stage alarms of generation 0, round 2"):
        fork(source, new, rounds=1)
    with pytest.raises(InvalidOption, match="roundz"):
        fork(source, new, roundz=1)
    assert not new.exists()


@pytest.mark.parametrize("what", ["model.safetensors", "optimizer.safetensors"])
def test_an_altered_checkpoint_stops_a_fork(source, tmp_path, what):
    path = copied(source, tmp_path)
    with Run.open(path, readonly=True) as run:
        chain = run.stages.get("0007-alarms").outputs["state"]
    weights = path / chain["policies"]["learner"]["path"] / what
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(RecordDamaged, match="altered"):
        fork(path, tmp_path / "fork", at=1)
    fork(path, tmp_path / "fork", at=0)


def test_a_missing_checkpoint_or_memory_stops_a_fork_and_a_resume(source, tmp_path):
    path = copied(source, tmp_path)
    with Run.open(path, readonly=True) as run:
        chain = run.stages.get("0007-alarms").outputs["state"]
    (path / chain["memories"]["attacker-archive"]["path"]).unlink()
    with pytest.raises(RecordDamaged, match="cannot be read"):
        fork(path, tmp_path / "fork", at=1)
    path = fork(source, tmp_path / "other", at=1).settings.run_dir
    shutil.rmtree(path / chain["policies"]["critic"]["path"])
    with pytest.raises(RecordDamaged, match="critic"):
        fork(path, tmp_path / "fork", at=1)
    with Run.open(path, readonly=True) as run:
        config = run.info.config
    with pytest.raises(RecordDamaged, match="critic"):
        SelfPlay(**{**config, "run_dir": path}).run(resume=True)
