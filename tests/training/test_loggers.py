"""Loggers get what the record gets; none of them can stop a run."""

import json
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest

from superalign_env.errors import InvalidOption
from superalign_env.store import TRAINING, Run
from superalign_env.types import Metric
from superalign_training.cli.composing import composed
from superalign_training.loggers import Logging, make_loggers, series
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.settings import read_settings

LOSS = Metric(
    "train/loss",
    0.5,
    tags={"role": "learner", "stage": "learn", "algorithm": "ppo", "round": "1"},
    step=7,
)
SAFETY = Metric("learner.safety", 0.25, tags={"split": "gate"}, step=1)


class Wandb:
    """The interface of Weights & Biases, as far as it is used."""

    def __init__(self, fails_after=None):
        self.logged, self.steps, self.finished, self.asked = [], [], False, {}
        self._fails_after = fails_after

    def init(self, *, project, id, name, dir, config, resume, mode):
        self.asked = {"project": project, "id": id, "resume": resume, "mode": mode}
        self.id = id or "theirs"
        return self

    def define_metric(self, name, *, step_metric):
        self.steps.append((name, step_metric))

    def log(self, values):
        if self._fails_after is not None and len(self.logged) >= self._fails_after:
            raise ConnectionError("no route")
        self.logged.append(values)

    def finish(self):
        self.finished = True


class Trackio(Wandb):
    """The interface of Trackio, as far as it is used."""

    def init(self, project, name, space_id, config, resume):
        self.asked = {"project": project, "name": name, "resume": resume}
        self.name = name or "theirs"
        return self

    def log(self, metrics, step=None):
        super().log((step, metrics))


class SummaryWriter:
    """The interface of PyTorch's writer for TensorBoard, as far as it is used."""

    made: ClassVar = []

    def __init__(self, log_dir):
        self.log_dir, self.scalars, self.closed = log_dir, [], False
        SummaryWriter.made.append(self)

    def add_scalar(self, tag, scalar_value, global_step):
        self.scalars.append((tag, scalar_value, global_step))

    def close(self):
        self.closed = True


def logged(path, log_to):
    with (
        Run.create(path, kind="train", config={"seed": 3}, seed=3) as run,
        Logging(run, make_loggers(log_to)) as logging,
    ):
        logging.log([LOSS, SAFETY])


def test_names_of_series_hold_what_tells_them_apart():
    assert series(LOSS) == "train/loss/learner/learn"
    assert series(SAFETY) == "learner.safety/gate"


def test_wandb_gets_every_row_with_its_step(tmp_path, monkeypatch):
    stub = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    path = tmp_path / "run"
    logged(path, {"id": "wandb", "project": "mine"})
    assert stub.logged == [
        {"train/loss/learner/learn": 0.5, "step": 7},
        {"learner.safety/gate": 0.25, "step": 1},
    ]
    assert stub.asked["project"] == "mine"
    assert stub.asked["id"] is None, "the library makes one"
    with Run.open(path) as run, Logging(run, make_loggers("wandb")):
        assert stub.asked["id"] == "theirs", "a resumed run goes on in the same one"
    assert set(stub.steps) == {("*", "step")}
    assert stub.finished


def test_trackio_gets_every_row_with_its_step(tmp_path, monkeypatch):
    stub = Trackio()
    monkeypatch.setitem(sys.modules, "trackio", stub)
    logged(tmp_path / "run", "trackio")
    assert stub.asked["name"] is None
    assert (tmp_path / "run" / "trackio.id").read_text() == "theirs"
    assert stub.logged == [
        (7, {"train/loss/learner/learn": 0.5}),
        (1, {"learner.safety/gate": 0.25}),
    ]
    assert stub.finished


def test_tensorboard_has_a_line_for_each_role(tmp_path, monkeypatch):
    monkeypatch.setattr(SummaryWriter, "made", [])
    monkeypatch.setitem(sys.modules, "tensorboard", SimpleNamespace())
    written = SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", written)
    logged(tmp_path / "run", ["tensorboard"])
    found = {w.log_dir: w.scalars for w in SummaryWriter.made}
    folder = tmp_path / "run" / "tensorboard"
    assert found == {
        str(folder / "learner-learn"): [("train/loss", 0.5, 7)],
        str(folder): [("learner.safety/gate", 0.25, 1)],
    }
    assert all(writer.closed for writer in SummaryWriter.made)


def test_the_real_tensorboard_reads_what_was_written(tmp_path):
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="an extra"
    )
    logged(tmp_path / "run", "tensorboard")
    found = reading.EventAccumulator(
        str(tmp_path / "run" / "tensorboard" / "learner-learn")
    )
    found.Reload()
    assert [(s.step, s.value) for s in found.Scalars("train/loss")] == [(7, 0.5)]


def test_what_makes_no_sense_is_said_before_anything_starts(tmp_path, monkeypatch):
    path = tmp_path / "run"
    with pytest.raises(InvalidOption, match=r"log_to.*did you mean tensorboard\?"):
        SelfPlay(log_to="tensorbord", run_dir=path)
    with pytest.raises(InvalidOption, match=r"no option 'projekt'; did you mean project"):
        SelfPlay(log_to={"id": "wandb", "projekt": "x"}, run_dir=path).run()
    for name in ("tensorboard", "wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
        with pytest.raises(InvalidOption, match=rf"pip install 'superalign-env\[{name}\]'"):
            SelfPlay(log_to=name, run_dir=path).run()
    assert not path.exists()


def test_the_command_line_takes_one_several_and_options():
    for words, wanted in (
        ([], None),
        (["log_to=wandb"], "wandb"),
        (["log_to=[tensorboard,wandb]"], ("tensorboard", "wandb")),
        (["log_to={id: wandb, project: mine}"], {"id": "wandb", "project": "mine"}),
        (["log_to={id:wandb,project:mine}"], {"id": "wandb", "project": "mine"}),
    ):
        settings = read_settings(composed(words))
        assert settings.log_to == wanted
        assert read_settings(json.loads(settings.model_dump_json())) == settings


def test_a_logger_that_fails_never_stops_a_run(speaking, small, tmp_path, monkeypatch):
    path, broken, whole = tmp_path / "run", Wandb(fails_after=2), Trackio()
    monkeypatch.setitem(sys.modules, "wandb", broken)
    monkeypatch.setitem(sys.modules, "trackio", whole)
    play = SelfPlay(log_to=["wandb", "trackio"], **small(speaking, run_dir=path))
    with pytest.warns(RuntimeWarning, match=r"log_to=wandb is left out .*no route"):
        play.run()
    with Run.open(path, readonly=True) as run:
        assert run.info.status == "done"
        (failed,) = run.events.read(kind="logger.failed")
        assert failed.event.evidence == {
            **{"logger": "wandb", "error": "ConnectionError: no route"}
        }
        rows = [row.metric for row in run.metrics.read()]
        assert run.metrics.read(TRAINING)
    assert len(broken.logged) == 2
    assert not broken.finished
    heard = [(step, name, v) for step, by in whole.logged for name, v in by.items()]
    assert {(m.step, series(m), m.value) for m in rows} >= set(heard)
    assert {name for _, name, _ in heard} == {series(m) for m in rows}
