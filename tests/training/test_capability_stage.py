"""The stages that measure a chain: what they write, that they repeat it, what they leave alone."""

import json
from functools import partial

import msgspec
import pytest
from improving import drive_stages

from superalign_env.errors import InvalidOption
from superalign_env.store import Run
from superalign_env.types import Gold
from superalign_training.evaluation.ceiling import gold_examples
from superalign_training.evaluation.holdout import draw_holdout
from superalign_training.policy import Policy
from superalign_training.selfplay.driver import PlannedStage, StageResult
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.stages import measure as stage
from superalign_training.selfplay.stages.gap import gap
from superalign_training.selfplay.state import Aligned

GENERATIONS = 3

ROLES = ("attacker", "learner", "critic")


def settings(model, competence=None, **more):
    return read_settings(
        {
            "lineup": dict.fromkeys(ROLES, str(model)),
            "generations": GENERATIONS,
            "levels": [str(model), str(model)],
            "gap": {"id": "direct"},
            "competence": competence or {"families": ["arithmetic"]},
            "capability": {
                "cases": 8,
                "requests": 24,
                "test_factor": 2,
                "gold_tasks": 24,
                "ceiling": {"steps": 4, "learning_rate": 1e-2, "batch_size": 8},
                "salient_steps": 2,
                "best_of": 2,
                "resamples": 100,
                **more,
            },
        }
    )


def accept(context):
    """Stand in for the gate: every generation but the second is accepted."""
    chain = context.state
    if context.generation == 2:
        return StageResult(chain)
    mine = Aligned(context.generation, chain.level, chain.policies["learner"])
    return StageResult(msgspec.structs.replace(chain, aligned=(*chain.aligned, mine)))


def plan(chosen):
    found = []
    for number in range(1, GENERATIONS + 1):
        found += [
            PlannedStage("gap", partial(gap, settings=chosen), 0, number),
            PlannedStage("measure", partial(stage.measure, settings=chosen), 0, number),
            PlannedStage("gate", accept, 0, number),
        ]
    return [
        *found,
        PlannedStage("test", partial(stage.final, settings=chosen), 0, GENERATIONS),
    ]


def go(path, chosen):
    return drive_stages(path, chosen, plan(chosen), seed=chosen.seed)


@pytest.fixture(scope="module")
def measured(speaking, tmp_path_factory):
    path = tmp_path_factory.mktemp("measure") / "run"
    chosen = settings(speaking)
    chain = go(path, chosen)
    with Run.open(path, readonly=True) as run:
        rows = list(run.metrics.read())
        stages = {s.id: s for s in run.stages.all()}
    return path, chosen, chain, rows, stages


def of(rows, name, stage="measure", **tags):
    return [
        row.metric
        for row in rows
        if row.metric.name == name
        and row.stage.endswith(stage)
        and tags.items() <= row.metric.tags.items()
    ]


def test_both_sides_of_every_generation_are_measured_on_the_gate_split(measured):
    _, _, _, rows, _ = measured
    assert GENERATIONS > 1
    for number in range(1, GENERATIONS + 1):
        for side in ("-", "+"):
            found = of(rows, "capability.utility", who=f"A{number}{side}")
            assert [m.tags["family"] for m in found] == ["arithmetic"]
            assert {m.tags["split"] for m in found} == {"gate"}
            assert {m.step for m in found} == {number}
            assert len(of(rows, "safety", who=f"A{number}{side}")) == 1


def test_the_first_gap_is_to_people_and_later_ones_to_the_last_accepted_generation(
    measured,
):
    _, _, _, rows, _ = measured
    gaps = of(rows, "capability.gap", **{"in": "elo"})
    assert [m.tags["to"] for m in gaps] == ["people", "A1+", "A1+"]


def test_every_accepted_generation_is_read_once_from_the_test_split(measured):
    _, _, _, rows, _ = measured
    found = of(rows, "capability.utility", stage="test")
    assert [(m.tags["who"], m.tags["split"]) for m in found] == [
        ("A1+", "test"),
        ("A3+", "test"),
    ]
    assert found[0].n > of(rows, "capability.utility")[0].n
    assert {r.metric.tags["split"] for r in rows if r.stage.endswith("test")} == {"test"}


def test_a_level_is_taught_gold_labels_once_however_many_generations_begin_there(
    speaking, tmp_path, monkeypatch
):
    taught = []

    def counted(*args, **kwargs):
        taught.append(kwargs["seed"])
        return original(*args, **kwargs)

    original = stage.find_ceiling
    monkeypatch.setattr(stage, "find_ceiling", counted)
    go(tmp_path / "run", settings(speaking))
    # Three generations on one level; then once more for the holdout of the test split.
    assert len(taught) == 2


def test_measured_again_everything_is_the_same(measured, tmp_path):
    _, chosen, chain, rows, stages = measured
    again = go(tmp_path / "run", chosen)
    assert again == chain
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert list(run.metrics.read()) == rows
        assert {s.id: s.outputs for s in run.stages.all()} == {
            name: stage_.outputs for name, stage_ in stages.items()
        }


def test_measuring_trains_nobody_and_asks_nobody(measured):
    path, _, _, _, stages = measured
    with Run.open(path, readonly=True) as run:
        assert list(run.signals.read()) == []
        assert run.questions.all() == []
    measuring = [name for name in stages if name.endswith(("measure", "test"))]
    assert len(measuring) > GENERATIONS
    for name in measuring:
        chain = stages[_before(stages, name)].outputs["state"]
        assert stages[name].outputs["state"] == chain


def _before(stages, name):
    names = sorted(stages)
    return names[names.index(name) - 1]


def test_what_could_not_be_said_is_said_in_the_notes(measured):
    _, _, _, rows, stages = measured
    notes = stages["0002-measure"].outputs["notes"]
    # A scratch model knows nothing: its ceiling is below what people say.
    assert of(rows, "capability.pgr", who="A1-") == []
    assert any("A1 PGR: the ceiling is" in why for why in notes["missing"])
    assert notes["tasks"] == 8


def test_tasks_of_a_file_are_measured_too_and_people_who_cannot_be_simulated_are_left_out(
    speaking, tmp_path
):
    file = tmp_path / "sums.jsonl"
    rows = [
        {"prompt": f"calc {a} + {b}", "answer": f"ans {(a + b) % 10}"}
        for a in range(10)
        for b in range(10)
    ]
    splits = ("train", "train", "control", "gate", "test")
    file.write_text(
        "\n".join(json.dumps({**row, "split": splits[i % 5]}) for i, row in enumerate(rows))
    )
    source = {
        "id": "rows",
        "path": str(file),
        "kind": "free-form",
        "columns": {"split": "split"},
    }
    go(tmp_path / "run", settings(speaking, competence={"source": source}))
    with Run.open(tmp_path / "run", readonly=True) as run:
        found = list(run.metrics.read())
        notes = next(s for s in run.stages.all() if s.name == "measure").outputs["notes"]
    assert {m.tags["family"] for m in of(found, "capability.utility")} == {"free-form"}
    assert any("nobody can be simulated" in why for why in notes["missing"])
    assert of(found, "capability.gap", who="A1") == []
    assert len(of(found, "capability.gap", who="A2", **{"in": "utility"})) == 1


def test_tasks_without_gold_answers_have_no_ceiling(speaking):
    holdout = draw_holdout(["microworld"], "train", 4, source_of_all="microworld")
    policy = Policy.from_reference(str(speaking))
    assert [lesson.sources for lesson in gold_examples(policy, holdout)] == [("gold",)] * 4
    source = holdout.scenario.source
    source.gold = lambda task: Gold()
    with pytest.raises(InvalidOption, match="no gold answers"):
        gold_examples(policy, holdout)
