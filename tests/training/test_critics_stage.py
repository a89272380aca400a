"""The final critic of a run is measured and recorded, when it is asked for."""

import json

import pytest

from superalign_env.errors import InvalidOption
from superalign_env.store import Run
from superalign_training.loop.cast import first_policy
from superalign_training.loop.chain import Chain
from superalign_training.loop.driver import Planned, drive
from superalign_training.loop.plans import plan
from superalign_training.loop.residents import Residents
from superalign_training.loop.stages.critics import critics
from superalign_training.settings import read_settings
from superalign_training.watching import Silent

ROLES = ("attacker", "learner", "critic")


def settings(model, **more):
    lineup = dict.fromkeys(ROLES, str(model))
    return read_settings({"lineup": lineup, "evaluate": {"critic_cases": 6}, **more})


def go(run, chosen):
    def first():
        chain = Chain()
        for role in ROLES:
            chain = chain.with_policy(role, first_policy(role, chosen, Residents()).origin)
        return chain

    stages = [Planned("critics", lambda bench: critics(bench, chosen), 3)]
    drive(run, stages, first=first, watcher=Silent())


def test_every_measure_lies_in_the_record(speaking, tmp_path):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=5) as run:
        go(run, settings(speaking))
        found = {row.metric.name: row.metric for row in run.metrics.read()}
        assert run.count(split="test") == 6
    assert set(found) >= {
        "verdicts.brier",
        "verdicts.hallucinated",
        "critique.gain",
        "verdicts.length-flipped",
    }
    assert {metric.step for metric in found.values()} == {3}
    assert {metric.tags["split"] for metric in found.values()} == {"test"}


def test_it_is_planned_last_and_only_when_asked_for(speaking):
    assert plan(settings(speaking))[-1].name == "critics"
    without = settings(speaking, evaluate={"critic_cases": 0})
    assert "critics" not in [stage.name for stage in plan(without)]


def test_requests_that_cannot_be_varied_are_refused(speaking, tmp_path):
    rows = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"how to {i}", "label": "benign"} for i in range(60)]
    rows.write_text("\n".join(map(json.dumps, lines)))
    source = {"id": "rows", "path": str(rows), "kind": "requests"}
    chosen = settings(speaking, options={"source": source})
    with (
        Run.create(tmp_path / "run", kind="train", config={}, seed=5) as run,
        pytest.raises(InvalidOption, match="critic_cases=0"),
    ):
        go(run, chosen)
