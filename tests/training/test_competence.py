"""The competence stage: who labels, what is taught, what may be known; never the truth."""

from functools import partial

import msgspec
import pytest
import typer
from improving import drive_stages
from typer.testing import CliRunner

import superalign_training.selfplay.playing as playing
from superalign_env.canonical import to_json
from superalign_env.cli.people import label
from superalign_env.errors import InvalidOption
from superalign_env.store import Run, validate
from superalign_env.types import role_of
from superalign_scenarios.microworld.flipped import FlippedGold
from superalign_scenarios.microworld.source import MicroWorld
from superalign_training.algorithms.weak_to_strong import WeakToStrongTraining
from superalign_training.gap.controller import GenerationStats
from superalign_training.policy import Checkpoint
from superalign_training.selfplay.agents import first_policy, keep_policy
from superalign_training.selfplay.driver import (
    Interrupted,
    PlannedStage,
    StageResult,
)
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.stages.competence import competence
from superalign_training.selfplay.state import Aligned
from superalign_training.selfplay.supervisors.labelling import LABELS
from superalign_training.selfplay.watching import Silent

ROLES = ("attacker", "learner", "critic")

PERSONA = {"id": "simulated-persona", "noise": 0.2}


def settings_of(model, path, **more):
    """Settings of a stage of a second or two."""
    signals = {"labels": 16, "random_share": 0.25, **more.pop("signals", {})}
    taught = {
        "families": ["requests"],
        "cases": 24,
        "control_cases": 10,
        "algorithm": {
            "id": "weak-to-strong",
            "steps": 3,
            "batch_size": 8,
            "learning_rate": 1e-2,
        },
        **more.pop("competence", {}),
    }
    given = {
        "generations": 2,
        "run_dir": str(path),
        "levels": [str(model)],
        "gap": {"id": "direct"},
        "signals": signals,
        "competence": taught,
        "lineup": dict.fromkeys(ROLES, str(model)),
    }
    return read_settings({**given, **more})


def enter(context, settings):
    """Stands for the stage `gap`: the level's policy, from the folder of a model."""
    chain = context.state.begun(GenerationStats(generation=context.generation, level=0))
    fresh = first_policy("learner", settings, context.models)
    return StageResult(keep_policy(context, chain, "learner", fresh, side="-"))


def accept(context, settings):
    """Stands for the stage `gate`: everything is accepted."""
    chain = context.state
    found = Aligned(context.generation, 0, chain.policies["learner"])
    return StageResult(msgspec.structs.replace(chain, aligned=(*chain.aligned, found)))


STAGES = (("enter", enter), ("competence", competence), ("accept", accept))


def play(settings, *, generations=1, watcher=None, resume=False, stages=STAGES):
    """Run the stages once per generation; return the last chain."""
    plan = [
        PlannedStage(name, partial(do, settings=settings), 0, generation)
        for generation in range(1, generations + 1)
        for name, do in stages
    ]
    return drive_stages(
        settings.run_dir, settings, plan, resume=resume, watcher=watcher, seed=7
    )


def taught_of(run, generation=1):
    """The labels of a generation as recorded: [episode, answer, confidence, sources]."""
    rows = [h.event.evidence["labels"] for h in run.events.read(kind=LABELS)]
    return rows[generation - 1]


def metric(run, name):
    return [row.metric for row in run.metrics.read() if row.metric.name == name]


@pytest.fixture(scope="module")
def whole(speaking, tmp_path_factory):
    """Two generations, supervised by a persona, by people and by the first of them."""
    path = tmp_path_factory.mktemp("competence") / "run"
    settings = settings_of(speaking, path, signals={"personas": [PERSONA]})
    return path, settings, play(settings, generations=2)


def test_the_stage_leaves_what_the_next_ones_read(whole):
    path, _, chain = whole
    assert isinstance(chain.before, Checkpoint)
    assert chain.before == chain.policies["learner"]
    stats = chain.stats
    assert (stats.generation, stats.level) == (2, 0)
    assert 0 < stats.disagreement <= 1 and 0 <= stats.misfit <= 1
    assert 0 < stats.confidence <= 1
    assert stats.human_labels == 4 and 0 <= stats.human_agreement <= 1
    with Run.open(path, readonly=True) as run:
        row = run.agents.get(chain.before.agent)
        assert (row.role, row.side, row.generation) == ("learner", "-", 2)
        assert run.agents.get(row.parent).spec.policy != row.spec.policy
        assert validate(run) == []


def test_every_source_sits_in_a_supervisors_seat_of_recorded_episodes(whole):
    path, _, chain = whole
    with Run.open(path, readonly=True) as run:
        episodes = [e for e in run.episodes() if e.scenario == "weak-to-strong-v0"]
        second = [e for e in episodes if e.key.generation == 2]
        assert {e.task.split for e in second} == {"train", "control"}
        supervisors = {seat for e in second for seat in e.seats if "supervisor" in seat}
        assert supervisors == {"supervisor_0", "supervisor_1"}
        assert all(role_of(e.utterances[-1].seat) == "learner" for e in second)
        sources = run.stages.all()[4].outputs["notes"]["sources"]
        assert sources[1] == chain.aligned[0].checkpoint.agent


def test_every_label_carries_its_sources_and_a_confidence(whole):
    path, settings, chain = whole
    with Run.open(path, readonly=True) as run:
        labels = taught_of(run, 2)
        assert len(labels) == settings.competence.cases
        named = {name for *_, sources in labels for name in sources}
        assert "person" in named and chain.aligned[0].checkpoint.agent in named
        assert all(sources and 0 < sure <= 1 for _, _, sure, sources in labels)


def test_training_rows_carry_them_too(speaking, tmp_path, monkeypatch):
    seen = []
    improve = WeakToStrongTraining.improve

    def spy(self, policy, experience, **how):
        seen.extend(experience)
        return improve(self, policy, experience, **how)

    settings = settings_of(speaking, tmp_path / "r", signals={"personas": [PERSONA]})
    monkeypatch.setattr(WeakToStrongTraining, "improve", spy)
    play(settings)
    assert len(seen) == 24
    assert all(row.sources and row.prompt_ids and row.completion_ids for row in seen)
    assert {row.confidence for row in seen} >= {0.9}  # a person's own
    with Run.open(settings.run_dir, readonly=True) as run:
        assert [list(row.sources) for row in seen] == [row[3] for row in taught_of(run)]


def test_people_are_asked_within_the_budget_and_never_taught_at_random(whole):
    path, settings, _ = whole
    with Run.open(path, readonly=True) as run:
        asked = run.questions.all(answered=True)
        assert len(asked) == 2 * settings.signals.labels
        assert {q.kind for q in asked} == {"answer"}
        split = {q.id: run.episode(q.episode).task.split for q in asked}
        control = [q for q in asked if split[q.id] == "control"]
        assert len(control) == 8 and {q.slice for q in control} == {"random"}
        by_people = {
            row[0] for g in (1, 2) for row in taught_of(run, g) if "person" in row[3]
        }
        drawn = {q.episode for q in asked if q.slice == "random"}
        chosen = {q.episode for q in asked if q.slice == "selected"}
        assert drawn & {q.episode for q in asked if split[q.id] == "train"}
        assert by_people == chosen and not by_people & drawn


def test_what_may_be_known_and_what_is_true_are_told_apart_in_the_record(whole):
    path, _, chain = whole
    with Run.open(path, readonly=True) as run:
        for name in ("signals.disagreement", "signals.misfit", "signals.human_agreement"):
            assert [m.step for m in metric(run, name)] == [1, 2]
        (_, right) = metric(run, "signals.label_accuracy")
        assert right.tags == {"by": "truth"} and right.low < right.value < right.high
        weighed = {m.agent for m in metric(run, "signals.reliability") if m.step == 2}
        assert chain.aligned[0].checkpoint.agent in weighed and len(weighed) == 2


def test_a_first_generation_can_live_on_people_alone(speaking, tmp_path):
    settings = settings_of(speaking, tmp_path / "run")
    chain = play(settings)
    with Run.open(settings.run_dir, readonly=True) as run:
        assert {e.scenario for e in run.episodes()} == {"exam-v0"}
        labels = taught_of(run)
        assert len(labels) == 9  # 12 on the training split, 3 of them drawn at random
        assert {tuple(sources) for *_, sources in labels} == {("person",)}
    assert chain.stats.disagreement == 0.0


def test_a_first_generation_can_do_without_people(speaking, tmp_path):
    signals = {"labels": 0, "personas": [PERSONA, {**PERSONA, "group": "elders"}]}
    settings = settings_of(speaking, tmp_path / "run", signals=signals)
    chain = play(settings)
    assert chain.stats.human_agreement is None and chain.stats.human_labels == 0
    assert 0 < chain.stats.disagreement < 1
    with Run.open(settings.run_dir, readonly=True) as run:
        assert run.questions.all() == [] and len(taught_of(run)) == 24


@pytest.mark.parametrize("rule", ["majority", "weighted", "dawid-skene", "ancestors"])
def test_every_rule_makes_labels(speaking, tmp_path, rule):
    personas = [{**PERSONA, "noise": noise} for noise in (0.0, 0.2, 0.3)]
    signals = {"labels": 4, "personas": personas, "combine": rule, "dropout": 0.3}
    settings = settings_of(speaking, tmp_path / "run", signals=signals)
    play(settings)
    with Run.open(settings.run_dir, readonly=True) as run:
        labels = taught_of(run)
        # 30 % of three sources: one of them is left out of most labels.
        assert sum(len(sources) < 3 for *_, sources in labels) > len(labels) / 2


def test_people_can_be_one_voice_among_others(speaking, tmp_path):
    personas = [{**PERSONA, "noise": noise} for noise in (0.0, 0.01)]
    signals = {"personas": personas, "human": "add", "combine": "majority"}
    settings = settings_of(
        speaking, tmp_path / "run", signals={**signals, "people": [{"accuracy": 0.0}]}
    )
    play(settings)
    with Run.open(settings.run_dir, readonly=True) as run:
        assert "person" not in {name for *_, who in taught_of(run) for name in who}
        (right,) = metric(run, "signals.label_accuracy")
        assert right.value > 0.9


def test_effort_multiplies_tasks_and_steps(speaking, tmp_path):
    settings = settings_of(speaking, tmp_path / "run", signals={"personas": [PERSONA]})
    play(settings, stages=[STAGES[0], ("competence", partial(competence, effort=2))])
    with Run.open(settings.run_dir, readonly=True) as run:
        assert len(taught_of(run)) == 48
        assert run.stages.all()[-1].outputs["notes"]["steps"] == 6


def test_labels_that_their_sources_are_not_sure_enough_of_can_be_left_out(
    speaking, tmp_path
):
    personas = [{**PERSONA, "noise": noise} for noise in (0.3, 0.31)]
    signals = {"labels": 0, "personas": personas, "combine": "majority"}
    taught = {}
    for above in (0.0, 0.75):
        settings = settings_of(
            speaking,
            tmp_path / str(above),
            signals=signals,
            competence={"min_confidence": above, "min_labels": 1},
        )
        play(settings)
        with Run.open(settings.run_dir, readonly=True) as run:
            taught[above] = taught_of(run)
    assert taught[0.75] == [row for row in taught[0.0] if row[2] >= 0.75]
    assert 0 < len(taught[0.75]) < len(taught[0.0])


def test_too_few_labels_fail_the_stage_and_say_what_to_change(speaking, tmp_path):
    settings = settings_of(
        speaking, tmp_path / "run", signals={"labels": 4, "random_share": 0.0}
    )
    with pytest.raises(InvalidOption, match=r"raise signals\.labels"):
        play(settings)
    with Run.open(settings.run_dir) as run:
        assert run.stages.all()[-1].status == "failed"


def contents(path):
    """Everything in a record but clocks and what clocks enter."""
    with Run.open(path, readonly=True) as run:
        episodes = sorted((e.id, to_json(e)) for e in run.episodes())
        stages = [(s.id, s.outputs) for s in run.stages.all()]
        metrics = [(m.stage, to_json(m.metric)) for m in run.metrics.read()]
        said = sorted(
            (s.episode, s.source, s.payload["text"], s.question)
            for s in run.signals.read(kind="answer")
        )
        labels = [to_json(h.event.evidence) for h in run.events.read(kind=LABELS)]
    files = sorted(
        p.relative_to(path).as_posix() for p in (path / "checkpoints").rglob("*")
    )
    return episodes, stages, metrics, said, labels, files


class StopAt(Silent):
    """Interrupts at the n-th step of training within a stage."""

    def __init__(self, generation, step):
        self.generation, self.at = generation, step
        self.now = 0

    def begin(self, moment):
        self.now = moment.generation

    def step(self, done, total, numbers):
        if (self.now, done) == (self.generation, self.at):
            raise KeyboardInterrupt


@pytest.mark.parametrize(("generation", "step"), [(1, 1), (2, 2)])
def test_a_stage_that_was_interrupted_ends_as_if_nothing_had_happened(
    whole, tmp_path, generation, step
):
    path, settings, chain = whole
    again = settings.model_copy(update={"run_dir": tmp_path / "run"})
    with pytest.raises(Interrupted):
        play(again, generations=2, watcher=StopAt(generation, step))
    assert play(again, generations=2, resume=True) == chain
    assert contents(tmp_path / "run") == contents(path)


def flipped(monkeypatch):
    source = FlippedGold(MicroWorld(families=("requests",)))
    monkeypatch.setattr(playing, "tasks_of", lambda settings: source)


def honest(monkeypatch):
    monkeypatch.setattr(playing, "tasks_of", lambda s: MicroWorld(families=("requests",)))


@pytest.mark.parametrize("asked", [False, True])
def test_flipping_all_gold_changes_no_label_and_no_row_unless_a_person_is_asked(
    speaking, tmp_path, monkeypatch, asked
):
    found = []
    for name, world in (("true", honest), ("flipped", flipped)):
        world(monkeypatch)
        signals = {
            "labels": 16 if asked else 0,
            "models": [{"id": str(speaking), "temperature": 1.0}, "always-refuse"],
        }
        settings = settings_of(speaking, tmp_path / name, signals=signals)
        chain = play(settings)
        with Run.open(settings.run_dir, readonly=True) as run:
            labels = to_json(taught_of(run))
            rows = [to_json(m) for m in metric(run, "signals.reliability")]
        found.append((labels, rows, chain.before.weights, to_json(chain.stats)))
    differ = [one != other for one, other in zip(*found, strict=True)]
    assert differ == [asked] * 4


def test_real_people_are_waited_for_and_the_stage_goes_on_with_what_they_wrote(
    speaking, tmp_path
):
    settings = settings_of(
        speaking,
        tmp_path / "run",
        signals={"people": [{"name": "eve", "simulated": False, "group": "elders"}]},
    )
    with pytest.raises(InvalidOption, match="superalign label"):
        play(settings)
    app = typer.Typer()
    app.command()(label)
    typed = "refuse\n" * 16
    told = CliRunner().invoke(app, [str(settings.run_dir), "--as", "eve"], typed)
    assert "16 answered" in told.output and "0 still open" in told.output
    play(settings, resume=True)
    with Run.open(settings.run_dir, readonly=True) as run:
        labels = taught_of(run)
        assert len(labels) == 9
        assert {(text, *sources) for _, text, _, sources in labels} == {("refuse", "eve")}
        assert {s.payload["group"] for s in run.signals.read(kind="answer")} == {"elders"}
        assert validate(run) == []
