"""Whole runs with tiny budgets: what is recorded, interrupts, exact resume."""

import itertools
import json
import shutil

import msgspec
import pytest
from typer.testing import CliRunner

from superalign_env.errors import InvalidOption, RecordDamaged, RecordError, UnknownId
from superalign_env.store import Run, validate
from superalign_training.cli.commands import train
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.driver import Interrupted
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.settings import Settings, read_settings
from superalign_training.selfplay.watching import LogLines, Silent

NAMES = [
    "judge",
    "evaluate",
    "attack",
    "improve-learner",
    "calibrate",
    "evaluate",
    "alarms",
    "test",
]


def contents(path):
    """Everything in a record but clocks, and the hashes that clocks enter."""
    with Run.open(path, readonly=True) as run:
        episodes = [msgspec.to_builtins(episode) for episode in run.episodes()]
        stages = [stage._replace(signals_to=0) for stage in run.stages.all()]
        metrics = [(m.stage, m.metric) for m in run.metrics.read()]
        agents = sorted(run.agents.all())
        labels = sorted(
            (s.episode, s.turn, s.value, s.source) for s in run.signals.read(kind="label")
        )
    files = sorted(
        p.relative_to(path).as_posix() for p in (path / "checkpoints").rglob("*")
    )
    return episodes, stages, metrics, agents, labels, files


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory):
    """A run that was never interrupted, in a folder of its own, and its summary."""
    path = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(finished, path)
    with Run.open(path, readonly=True) as run:
        settings = read_settings({**run.info.config, "run_dir": path})
    return path, SelfPlay.of(settings).run(resume=True)


def test_every_stage_is_recorded_with_what_it_found_and_left(whole):
    path, _ = whole
    with Run.open(path, readonly=True) as run:
        stages = run.stages.all()
        assert [stage.name for stage in stages] == NAMES
        assert {stage.status for stage in stages} == {"done"}
        for before, after in itertools.pairwise(stages):
            assert after.inputs["state"] == before.outputs["state"]
        assert len({stage.rng["seed"] for stage in stages}) == len(stages)
        assert run.info.status == "done"
        assert all(run.count(stage=s.id) for s in stages if s.name != "alarms")
        assert validate(run) == []


def test_three_policies_were_trained_and_their_lineage_is_kept(whole):
    path, _ = whole
    with Run.open(path, readonly=True) as run:
        chain = run.stages.all()[-1].outputs["state"]["policies"]
        for role in ("attacker", "learner", "critic"):
            agent = run.agents.get(chain[role]["agent"])
            assert (agent.role, agent.path) == (role, chain[role]["path"])
            assert (path / agent.path / "model.safetensors").is_file()
            origin = run.agents.ancestors(agent.hash)[-1]
            assert origin.parent == ""
            assert origin.spec.policy != agent.spec.policy
        assert len(run.agents.ancestors(chain["critic"]["agent"])) == 2


def test_a_critic_that_may_be_a_coin_raises_an_alarm(whole):
    path, _ = whole
    with Run.open(path, readonly=True) as run:
        checked = run.metrics.read("verdicts.accuracy", stage="0001-judge")[0].metric
        raised = run.events.read(kind="alarm.untaught-critic")
    early = [alarm.stage for alarm in raised if alarm.stage == "0001-judge"]
    assert early == ["0001-judge"] * (checked.low <= 0.5)
    assert raised, "six answers cannot tell a critic of two steps from a coin"


def test_people_were_asked_through_the_queue_about_the_answers_of_the_round(whole):
    path, _ = whole
    with Run.open(path, readonly=True) as run:
        budget = run.questions.budget(round=1)
        assert budget.asked == budget.answered + budget.skips > 0
        assert {s.source for s in run.signals.read(kind="label")} == {"simulated"}
        for signal in run.signals.read(kind="label"):
            spoken = {u.turn: u.seat for u in run.episode(signal.episode).utterances}
            assert spoken[signal.turn] == "learner_0"


def test_evaluation_is_on_held_out_cases_only(whole):
    path, _ = whole
    splits = {"evaluate": {"gate"}, "test": {"test"}}
    with Run.open(path, readonly=True) as run:
        stages = run.stages.all()
        assert splits.keys() < {stage.name for stage in stages}
        for stage in stages:
            found = {episode.task.split for episode in run.episodes(stage=stage.id)}
            assert found <= splits.get(stage.name, {"train"})
            assert found or stage.name not in splits


def test_the_summary_stands_beside_both_baselines(whole):
    path, summary = whole
    assert set(summary.leads) == {"always-comply", "always-refuse"}
    written = json.loads((path / "summary.json").read_text())
    told = written.pop("told")
    assert written == summary.plain()
    page = (path / "summary.md").read_text()
    assert page == f"{summary.markdown()}\n{told['sentence']}\n"
    with Run.open(path, readonly=True) as run:
        planted = sum(len(one.planted) for one in run.episodes())
        answered = run.questions.budget().answered
    assert (told["planted"], told["labels"]) == (planted, answered)
    assert planted and answered
    assert f"the truth of {planted} planted answers" in told["sentence"]
    (head, *rows) = summary.rows("test")
    assert head[1:] == ["before", "final", "always-comply", "always-refuse"]
    names = [row[0] for row in rows]
    for wanted in (
        "both sides right", "misses", "over-refusals", "refuses harmful", "refuses benign",
        "co-trained attack", "fresh attack", "distinct queries", "arithmetic",
    ):  # fmt: skip
        assert wanted in names
    both = dict(zip(head, rows[0], strict=True))
    assert [both[name].split()[0] for name in ("always-comply", "always-refuse")] == [
        "0.50",
        "0.50",
    ]


def test_an_existing_run_is_neither_overwritten_nor_done_again(whole):
    path, summary = whole
    before = contents(path)
    with Run.open(path, readonly=True) as run:
        settings = read_settings({**run.info.config, "run_dir": path})
    with pytest.raises(RecordError, match="--resume"):
        SelfPlay.of(settings).run()
    assert SelfPlay.of(settings).run(resume=True) == summary
    assert contents(path) == before


class Stopping(Silent):
    """Presses Ctrl-C at the beginning of a stage, or at its n-th step."""

    def __init__(self, stage, step=0, round=1):
        self.where = stage, round
        self.left = step
        self.here = False

    def begin(self, moment):
        self.here = (moment.stage, moment.round) == self.where
        if self.here and not self.left:
            raise KeyboardInterrupt

    def step(self, done, total, numbers):
        self.left -= self.here
        if self.here and not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("stage", "step", "round"),
    [("judge", 2, 0), ("improve-learner", 1, 1), ("calibrate", 1, 1)],
)
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(
    whole,
    speaking,
    tmp_path,
    stage,
    step,
    round,
    small,
):
    path = tmp_path / "run"
    settings = small(speaking, run_dir=path)
    with pytest.raises(Interrupted, match="--resume"):
        SelfPlay(watcher=Stopping(stage, step, round), **settings).run()
    with Run.open(path, readonly=True) as run:
        assert run.info.status == "interrupted"
    summary = SelfPlay(**settings).run(resume=True)
    assert contents(path) == contents(whole[0])
    assert summary == whole[1]


def test_a_checkpoint_that_was_altered_stops_the_resume(whole, speaking, tmp_path, small):
    path = tmp_path / "run"
    settings = small(speaking, run_dir=path)
    with pytest.raises(Interrupted):
        SelfPlay(watcher=Stopping("evaluate", round=0), **settings).run()
    (weights,) = (path / "checkpoints").glob("critic-*/model.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(RecordDamaged, match="altered"):
        SelfPlay(**settings).run(resume=True)


def test_an_original_that_changed_since_stops_the_resume(speaking, tmp_path, small):
    model = tmp_path / "model"
    shutil.copytree(speaking, model)
    settings = small(model, run_dir=tmp_path / "run")
    with pytest.raises(Interrupted):
        SelfPlay(watcher=Stopping("evaluate", round=0), **settings).run()
    (weights,) = model.glob("model.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(RecordDamaged, match="other weights"):
        SelfPlay(**settings).run(resume=True)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"lineup": {"learner": "micro/77"}}, UnknownId, "micro/77"),
        (
            {"lineup": {"critic": "always-comply"}, "train": {"critic": "sft"}},
            InvalidOption,
            "critic=always-comply has no weights",
        ),
        ({"scenario": "red-tame"}, UnknownId, "red-team"),
        (
            {"scenario": "echo", "options": {}, "train": {"attacker": "ppo"}},
            InvalidOption,
            "echo-v0 has no attacker",
        ),
        ({"options": {"refines": 1}}, InvalidOption, "refines"),
        ({"rounds": 0}, InvalidOption, "rounds=0"),
        ({"device": "cuda:77"}, InvalidOption, "device=cuda:77 cannot be used here"),
        (
            {"scenario": "errand", "options": {}, "lineup": {}, "train": {}},
            InvalidOption,
            "nobody learns; name an algorithm for a role",
        ),
        ({"scenaro": "red-team"}, InvalidOption, "scenaro; did you mean scenario"),
    ],
)
def test_nonsense_stops_before_anything_is_made(
    speaking, tmp_path, wrong, error, said, small
):
    path = tmp_path / "run"
    with pytest.raises(error, match=said):
        SelfPlay(**{**small(speaking, run_dir=path), **wrong}).run()
    assert not path.exists()


def test_resume_needs_a_run(speaking, tmp_path, small):
    with pytest.raises(RecordError, match="no run at"):
        SelfPlay(**small(speaking, run_dir=tmp_path / "run")).run(resume=True)


def test_the_plan_grows_by_the_same_stages_for_every_round():
    stages = [(p.name, p.round) for p in plan(Settings(rounds=3))]
    assert stages[:2] == [("judge", 0), ("evaluate", 0)]
    assert stages[2:7] == [(name, 1) for name in NAMES[2:7]]
    assert stages[12:] == [(name, 3) for name in NAMES[2:]]


def cli(*words):
    import typer  # noqa: PLC0415

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(train)
    return CliRunner().invoke(app, list(words))


def overrides(settings, above=""):
    """The same settings as words of the command line."""
    words = []
    for key, value in settings.items():
        if isinstance(value, dict):
            words += overrides(value, f"{above}{key}.")
        else:
            words.append(f"{above}{key}={str(value).replace(chr(39), '')}")
    return words


def test_the_command_line_trains_and_resumes(whole, speaking, tmp_path, small):
    path = tmp_path / "run"
    words = overrides(small(speaking, run_dir=str(path)))
    first = cli(*words)
    assert first.exit_code == 0, first.output
    assert "split test" in first.output
    assert whole[1].sentence[:20] in first.output.replace("\n", " ")
    assert contents(path) == contents(whole[0])
    again = cli("--resume", f"run_dir={path}")
    assert again.exit_code == 0
    assert "has ended already" in again.output


def test_a_resumed_run_keeps_its_settings(whole, speaking):
    found = cli("--resume", f"run_dir={whole[0]}", "rounds=2")
    assert isinstance(found.exception, InvalidOption)
    assert "rounds=1" in str(found.exception)
    assert cli("--resume", f"run_dir={whole[0]}", "rounds=1").exit_code == 0
    for word in (
        "train.learner=grpo",
        "train.learner.steps=2",
        "train.critic.batch_size=4",
    ):
        assert cli("--resume", f"run_dir={whole[0]}", word).exit_code == 0
    for word, said in (
        ("train.learner.steps=3", "train.learner.steps=2"),
        ("train.learner=ppo", "train.learner=grpo"),
        ("train.critic=null", "train.critic=sft"),
        ("lineup.critic=micro/77", f"lineup.critic={speaking}"),
    ):
        found = cli("--resume", f"run_dir={whole[0]}", word)
        assert isinstance(found.exception, InvalidOption)
        assert f"was made with {said}" in str(found.exception)


def test_an_interrupt_ends_with_its_own_code_and_a_hint(
    speaking, tmp_path, monkeypatch, small
):
    monkeypatch.setattr(LogLines, "begin", Stopping("evaluate", round=0).begin)
    path = tmp_path / "run"
    found = cli(*overrides(small(speaking, run_dir=str(path))))
    assert found.exit_code == 130
    assert f"superalign train run_dir={path} --resume" in found.output


def test_an_attacker_that_repeats_itself_is_taken_back(speaking, tmp_path, small):
    hasty = {"steps": 40, "learning_rate": 0.05, "num_train_epochs": 99}
    settings = small(speaking, run_dir=tmp_path / "run", train={"attacker": hasty})
    settings["attack"] = {**settings["attack"], "min_distinct": 1.0}
    SelfPlay(**settings).run()
    with Run.open(tmp_path / "run", readonly=True) as run:
        (happened,) = run.events.read(kind="attack.collapsed")
        assert happened.event.evidence["distinct"] < 1.0
        chain = run.stages.all()[-1].outputs["state"]["policies"]
        assert chain["attacker"]["path"] == ""


def test_a_log_that_is_never_quiet_has_one_line_for_every_step(finished):
    lines = finished.with_suffix(".txt").read_text().splitlines()
    steps = [line for line in lines if "improve-learner" in line and "/2 " in line]
    assert [line.split()[4] for line in steps] == ["1/2", "2/2"]
    assert sum(" done in " in line for line in lines) == len(NAMES)


def test_lineup_algorithms_human_and_budget_are_given_by_name():
    play = SelfPlay(
        "red-team",
        lineup={"learner": {"id": "micro/1"}, "critic": "same:learner"},
        train={"learner": {"id": "grpo", "steps": 7}},
        people={"annotators": [{"accuracy": 0.8}]},
        budget=0.1,
        options={"vanilla": 0.25},
    )
    found = play.settings
    assert found.lineup["learner"] == {"id": "micro/1"}
    assert [one.steps for one in found.train["learner"]] == [7]
    assert found.options == {"vanilla": 0.25}
    assert (found.people.annotators[0].accuracy, found.budget) == (0.8, 0.1)
    assert found.holder("critic") == "learner"
    assert found.reference("critic") == {"id": "micro/1"}
    assert SelfPlay(people=None).settings.budget == 0.0
    with pytest.raises(InvalidOption, match=r"train\.judge: nobody holds a role judge"):
        SelfPlay(train={"judge": "ppo"})
    with pytest.raises(InvalidOption, match=r"lineup\.judge: red-team-v0 has no judge"):
        SelfPlay(lineup={"judge": "micro/1"}).run()


@pytest.mark.parametrize(
    "roles",
    [
        {"critic": "same:critic"},
        {"critic": "same:nobody"},
        {"critic": "same:learner", "learner": "same:attacker"},
    ],
)
def test_a_shared_policy_must_lie_somewhere(roles):
    with pytest.raises(InvalidOption, match="leads to no policy"):
        read_settings({"lineup": roles})


def test_one_policy_in_two_roles_is_trained_as_one(speaking, tmp_path, small):
    path = tmp_path / "shared"
    SelfPlay(**small(speaking, run_dir=path, lineup={"critic": "same:learner"})).run()
    with Run.open(path, readonly=True) as run:
        stages = run.stages.all()
    chains = [stage.outputs["state"]["policies"] for stage in stages]
    weights = [(c["learner"]["weights"], c["critic"]["weights"]) for c in chains]
    assert all(ours == theirs for ours, theirs in weights)
    assert len(set(weights)) >= 3  # judge, learn and calibrate moved them
    spoken = [c["critic"]["options"]["temperature"] for c in chains]
    assert set(spoken) == {1.0}
    apart = [c["attacker"]["weights"] for c in chains]
    assert apart[0] not in {ours for ours, _ in weights}


@pytest.mark.parametrize("kind", ["finished", "finished_chain"])
def test_the_record_of_a_run_is_read_by_every_verb(superalign, kind, request, tmp_path):
    folder, page = request.getfixturevalue(kind), tmp_path / "page.html"
    (row, *_) = json.loads(superalign("ls", folder, "--json", "--seat", "learner_0"))
    assert row["episode"] in superalign("show", folder, row["episode"])
    assert "learner" in superalign("show", folder)
    assert "reproduced" in superalign("replay", folder, row["episode"])
    assert "healthy" in superalign("doctor", folder)
    assert json.loads(superalign("validate", folder, "--json")) == []
    superalign("report", folder, "--out", page)
    assert page.read_text("utf-8").startswith("<!doctype html>")
