"""Evaluations of one's own: in the plan, in the record, refused where they do not fit."""

import json
from typing import ClassVar, Literal

import pytest

from superalign_env.errors import InvalidOption, ProtocolError
from superalign_env.store import Run
from superalign_env.types import Metric
from superalign_training.cli.cost import cost_of
from superalign_training.evaluation.evaluation import make_evaluation
from superalign_training.experiments.microworld.critic_report import CriticProbes
from superalign_training.sections import Section
from superalign_training.selfplay.agents import first_policy
from superalign_training.selfplay.checks import require_lineup
from superalign_training.selfplay.driver import PlannedStage, drive
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.plan import plan
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.stages.own_evaluations import evaluated
from superalign_training.selfplay.state import RunState
from superalign_training.selfplay.watching import Silent
from superalign_training.testing import check_evaluation

ROLES = ("attacker", "learner", "critic")
PROBES = {"id": "microworld-critics", "cases": 6}


class Lengths(Section):
    """Words of the learner's answers to plain requests."""

    id: Literal["lengths"] = "lengths"
    when: ClassVar[Literal["round"]] = "round"
    cases: int = 4

    def __call__(self, context):
        scenario = context.scenario("plain")
        episodes = context.play(scenario, context.lineup, self.cases)
        words = [len(episode.utterances[0].text.split()) for episode in episodes]
        agent = context.recorded("learner")
        return [Metric("words", sum(words) / len(words), n=len(words), agent=agent)]


def settings(model, **more):
    lineup = dict.fromkeys(ROLES, str(model))
    return read_settings({"lineup": lineup, "evaluate": {"also": [PROBES]}, **more})


def go(run, chosen):
    def first():
        chain = RunState()
        for role in ROLES:
            chain = chain.with_policy(role, first_policy(role, chosen, ModelCache()).origin)
        return chain

    (evaluation,) = chosen.evaluate.also
    stages = [
        PlannedStage(
            "evaluation", lambda context: evaluated(context, chosen, evaluation), 3
        )
    ]
    return drive(run, stages, first_state=first, watcher=Silent())


def test_every_measure_of_a_critic_lies_in_the_record(speaking, tmp_path):
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
    assert {metric.tags["evaluation"] for metric in found.values()} == {PROBES["id"]}


def test_they_are_planned_after_each_round_or_at_the_end_and_only_when_asked_for(speaking):
    asked = settings(speaking, rounds=2, evaluate={"also": [PROBES, "microworld-survey"]})
    names = [stage.name for stage in plan(asked)]
    assert names[-2:] == ["test", "evaluation-microworld-critics"]
    survey = [
        stage for stage in plan(asked) if stage.name == "evaluation-microworld-survey"
    ]
    assert [stage.round for stage in survey] == [1, 2]
    without = settings(speaking, evaluate={"also": []})
    assert not [one.name for one in plan(without) if one.name.startswith("evaluation-")]


def test_they_are_planned_in_chains_and_in_any_scenario():
    words = {"lineup": {"learner": "micro/0"}, "train": {"learner": "ppo"}, "rounds": 1}
    also = {"evaluate": {"also": [Lengths()]}, "scenario": "exam", **words}
    assert [one.name for one in plan(read_settings(also))].count("evaluation-lengths") == 1
    chain = read_settings({**also, "generations": 2})
    placed = [one.generation for one in plan(chain) if one.name == "evaluation-lengths"]
    assert placed == [1, 2]


def test_what_they_cost_is_in_the_estimate(speaking):
    chosen = settings(speaking, evaluate={"also": [{**PROBES, "cases": 50}]})
    assert cost_of(chosen).stages["evaluation-microworld-critics"].episodes == 50


def test_requests_that_cannot_be_varied_are_refused_before_anything_starts(
    speaking, tmp_path
):
    rows = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"how to {i}", "label": "benign"} for i in range(60)]
    rows.write_text("\n".join(map(json.dumps, lines)))
    source = {"id": "rows", "path": str(rows), "kind": "requests"}
    for one in (PROBES, "microworld-survey"):
        chosen = settings(speaking, options={"source": source}, evaluate={"also": [one]})
        with pytest.raises(InvalidOption, match=r"evaluate\.also.* in the microworld only"):
            require_lineup(chosen, ModelCache())
    require_lineup(settings(speaking), ModelCache())


def test_one_that_is_named_twice_is_refused():
    with pytest.raises(InvalidOption, match="names microworld-critics twice"):
        read_settings({"evaluate": {"also": [PROBES, "microworld-critics"]}})


@pytest.mark.parametrize(
    ("also", "hint"),
    [
        ("microworld-surveys", "did you mean microworld-survey"),
        ({"id": "microworld-critics", "case": 3}, "cases"),
        ({"id": "microworld-critics", "cases": 1}, "must be at least 2"),
        (3, "is no evaluation"),
    ],
)
def test_what_is_no_evaluation_is_named(also, hint):
    with pytest.raises(InvalidOption, match=hint):
        read_settings({"evaluate": {"also": [also]}})


def test_the_record_holds_what_makes_them_again():
    for also in (PROBES, Lengths(cases=9)):
        chosen = read_settings({"evaluate": {"also": [also]}})
        plain = json.loads(json.dumps(chosen.model_dump(mode="json")))
        assert read_settings(plain).evaluate.also == chosen.evaluate.also
    assert make_evaluation(PROBES) == CriticProbes(cases=6)


# ---------------------------------------------------------------- the check for one's own


def test_the_check_accepts_what_keeps_the_contract():
    check_evaluation(Lengths())


class Forgetful(Lengths):
    """Counts its calls."""

    calls: ClassVar[list[int]] = []

    def __call__(self, context):
        self.calls.append(1)
        return [Metric("calls", float(len(self.calls)))]


class Unrecorded:
    """Keeps a setting that no record holds."""

    id = "unrecorded"
    when = "round"

    def __init__(self):
        self.cases = 3

    def __call__(self, context):
        return [Metric("cases", float(self.cases))]


class Silence(Lengths):
    def __call__(self, context):
        return []


class Trainer(Lengths):
    def __call__(self, context):
        next(context.lineup["learner"].model.parameters()).data.add_(1.0)
        return [Metric("trained", 1.0)]


class Endless(Lengths):
    def __call__(self, context):
        return [Metric("endless", float("inf"))]


@pytest.mark.parametrize(
    ("evaluation", "hint"),
    [
        (Forgetful(), "other numbers"),
        (Silence(), "measured nothing"),
        (Unrecorded(), "would not be recorded"),
        (Trainer(), "changed the weights"),
        (Endless(), "finite"),
    ],
)
def test_the_check_says_what_is_wrong(evaluation, hint):
    with pytest.raises(ProtocolError, match=hint):
        check_evaluation(evaluation)
