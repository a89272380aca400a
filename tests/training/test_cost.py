"""What a run is said to cost is about what its record says that it cost."""

import inspect
import json
import pkgutil
from importlib import import_module

import pytest

from superalign_env.store import Run
from superalign_training.cli import cost as cost_module
from superalign_training.cli.cost import (
    Cost,
    Speed,
    cost_of,
    cost_table,
    known_speed,
    speed_of,
)
from superalign_training.selfplay import SelfPlay, plan, stages
from superalign_training.selfplay.costs import StageCounts
from superalign_training.selfplay.driver import StageResult
from superalign_training.selfplay.settings import Settings, read_settings
from superalign_training.selfplay.truth_use import truth_use

GUESS = Cost({}, {}, Speed("nothing", 0.001, 0.002, 0.5, 30.0, 2.0))


@pytest.mark.parametrize("kind", ["finished", "finished_chain"])
def test_the_estimate_is_about_what_is_recorded(kind, request):
    path = request.getfixturevalue(kind)
    with Run.open(path, readonly=True) as run:
        settings = read_settings(run.info.config)
    told = cost_of(settings, measured=GUESS)
    found = {}
    with Run.open(path, readonly=True) as run:
        for cost in run.stages.costs():
            name = cost.stage[5:]
            spent = StageCounts(cost.episodes, cost.utterances)
            found[name] = found.get(name, StageCounts()).plus(spent)
        stages = [stage.name for stage in run.stages.all()]
        labels = run.questions.budget().answered
        planted = truth_use(run).planted
    assert sum(told.counts.values()) == len(stages)
    for name, spent in found.items():
        assert told.stages[name].episodes == pytest.approx(spent.episodes, rel=0.35), name
    # Fractions of a question are kept for later, and a veto is not always cast.
    assert told.whole.labels == pytest.approx(labels, rel=0.3, abs=2)
    assert told.whole.planted == planted > 0
    replies = sum(told.stages[name].replies for name in found)
    assert replies == pytest.approx(sum(s.replies for s in found.values()), rel=0.3)


def test_a_chain_in_which_nobody_was_accepted_ends_with_what_it_began_with(
    tmp_path, small, chain_settings
):
    gate = {**chain_settings["gate"], "uncertainty_rule": "reject", "min_conformity": 1.0}
    chain = small("micro/0", **{**chain_settings, "generations": 1, "gate": gate})
    summary = SelfPlay.of(read_settings({**chain, "run_dir": tmp_path / "run"})).run()
    assert [fate.accepted for fate in summary.outcomes] == [False]
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert run.info.status == "done"
        first, last = run.stages.all()[0].inputs, run.stages.all()[-1].outputs
        role = "learner"
        assert last["state"]["policies"][role] == first["state"]["policies"][role]


def test_more_of_anything_costs_more(small, chain_settings):
    def seconds(**changes):
        return cost_of(read_settings(small("micro/0", **changes)), measured=GUESS).seconds

    usual = seconds()
    assert seconds(rounds=2) > usual
    assert seconds(attack={**small("micro/0")["attack"], "cases": 99}) > usual
    assert seconds(supervise={"algorithm": {"id": "sft"}}) > usual
    assert seconds(league={"share": 0.3}) > usual
    assert seconds(train={"learner": {"id": "ppo", "steps": 4, "batch_size": 9}}) > usual
    assert seconds(**chain_settings) < seconds(**{**chain_settings, "generations": 3})
    assert (
        cost_of(read_settings(small("micro/0", budget=0.0)), measured=GUESS).whole.labels
        == 0
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "planted answers"),
        ({"options": {"truth": True}}, "part truth"),
        ({"generations": 1, "gap": {"id": "oracle"}}, "gap=oracle"),
        ({"signals": {"personas": [{"id": "simulated-persona"}]}}, "personas"),
    ],
)
def test_every_door_to_the_truth_is_named(more, said, tmp_path):
    config = {**Settings().model_dump(mode="json"), **more}
    with Run.create(tmp_path / "run", kind="train", config=config, seed=0) as run:
        told = truth_use(run)
    assert said in told.sentence
    assert sum((told.paid, told.oracle, told.personas)) == bool(more)


def test_a_run_that_shall_be_told_nothing_is_said_to_be_told_nothing(small):
    shut = {"judge": {"cases": 0, "check_cases": 0}, "calibrate": {"cases": 0}, "budget": 0}
    told = cost_of(read_settings(small("micro/0", **shut)), measured=GUESS)
    assert (told.whole.planted, told.whole.labels) == (0, 0)
    assert "0 labels by people, 0 planted answers" in told.line


def definitions():
    return [d for d in vars(plan).values() if isinstance(d, plan.StageDefinition)]


def stage_functions():
    """Return the functions of the stages' modules that return a stage's result."""
    names = [found.name for found in pkgutil.iter_modules(stages.__path__)]
    modules = [import_module(f"{stages.__name__}.{name}") for name in names]
    functions = {f for m in modules for f in vars(m).values() if inspect.isfunction(f)}
    return {
        f
        for f in functions
        if f.__module__.startswith(stages.__name__)
        and not f.__name__.startswith("_")
        and inspect.signature(f).return_annotation is StageResult
    }


def test_every_stage_function_is_defined_with_its_cost():
    defined = [definition.function() for definition in definitions()]
    assert len(defined) == len(set(defined))
    assert set(defined) == stage_functions()
    with pytest.raises(TypeError, match="cost"):
        plan.StageDefinition("gap:gap")


@pytest.mark.parametrize("definition", definitions(), ids=lambda d: d.target)
def test_a_cost_takes_the_options_of_its_stage(definition):
    asked, taken = (
        inspect.signature(f).parameters for f in (definition.cost, definition.function())
    )
    required = {n for n, p in taken.items() if p.default is p.empty} - {"settings"}
    assert required <= set(asked) <= set(taken)


def test_a_planned_stage_bears_the_cost_of_its_definition():
    listed = plan.plan(Settings(generations=1, budget=0.1))
    assert {s.name: s.cost.func.__name__ for s in listed}["test"] == "final"
    assert [s.name for s in listed if s.cost.func.__name__ == "free"] == ["gap"]


def test_every_stage_of_a_plan_is_in_the_table():
    told = cost_of(Settings(generations=3), measured=GUESS)
    table = cost_table(told)
    assert table.row_count == len(told.counts) + 1
    assert "an estimate" in str(table.title) and "an estimate" in told.line


def test_speed_is_measured_with_a_model_of_the_run_and_changes_nothing():
    found = speed_of(Settings(lineup={"learner": "micro/0"}))
    assert found.model == "micro/0"
    assert found.reply > 0 and found.row > 0 and found.course > 0
    assert 5 < found.read < 200
    assert 1 < found.turns < 4
    chain = Settings(generations=2, levels=("micro/0", "micro/1"), gap="direct")
    assert speed_of(chain).model == "micro/1"


def test_a_slow_model_is_measured_by_little_and_with_its_adapter(monkeypatch):
    taught = []

    def watched(policy, lessons):
        taught.append((policy.agent.adapter is not None, len(lessons)))
        return measure(policy, lessons)

    measure = cost_module._taught
    monkeypatch.setattr(cost_module, "_SLOW", 0.0)
    monkeypatch.setattr(cost_module, "_taught", watched)
    speed = speed_of(
        Settings(lineup={"learner": {"id": "micro/0", "adapter": {"rank": 2}}})
    )
    assert taught == [(True, 1)]
    assert speed.reply > 0 and speed.row > 0


def test_a_dry_run_knows_the_speed_that_was_measured_before(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_CACHE", str(tmp_path / "cache"))
    settings = Settings(lineup={"learner": "micro/0"})
    unmeasured = cost_of(settings, measure=False)
    assert (unmeasured.seconds, unmeasured.tokens) == (None, None)
    assert "time and tokens are not known" in unmeasured.line
    measured = cost_of(settings)
    again = cost_of(settings, measure=False)
    assert again.speed == measured.speed._replace(measured=again.speed.measured)
    assert (again.seconds, again.counts) == (measured.seconds, unmeasured.counts)
    assert again.whole.episodes == unmeasured.whole.episodes
    assert f"on {again.speed.measured}; --measure does it again" in again.line
    assert "--measure" not in measured.line
    for other in ({"options": {"refine": 1}}, {"lineup": {"learner": "micro/1"}}):
        assert known_speed(Settings(**{"lineup": {"learner": "micro/0"}, **other})) is None
    (kept,) = (tmp_path / "cache").iterdir()
    for damaged in (
        "{",
        '{"a": 1}',
        f'{{"{next(iter(json.loads(kept.read_text())))}": {{"no": 1}}}}',
    ):
        kept.write_text(damaged)
        assert known_speed(settings) is None
