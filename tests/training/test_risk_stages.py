"""Deployed, taught, weighed: the stages discover, conform and gate in a real record."""

import importlib
import shutil
from functools import partial

import msgspec
import pytest
from improving import drive_stages

from superalign_env.errors import Halted
from superalign_env.store import Run, validate
from superalign_env.types import Signal
from superalign_training.gap.controller import GenerationStats
from superalign_training.selfplay.agents import (
    first_policy,
    keep_policy,
    level_policy,
)
from superalign_training.selfplay.corrections import apply_decisions, propose
from superalign_training.selfplay.driver import (
    Interrupted,
    PlannedStage,
    StageResult,
)
from superalign_training.selfplay.gate_evidence import archived_attackers
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.stages.conform import conform
from superalign_training.selfplay.stages.discover import discover
from superalign_training.selfplay.stages.gate import gate

conforming = importlib.import_module("superalign_training.selfplay.stages.conform")

FEW = {"steps": 4, "batch_size": 8}

ROLES = ("attacker", "learner", "critic")


def settings(model, **more):
    few = {
        "generations": 2,
        "levels": [str(model)],
        "gap": {"id": "direct"},
        "lineup": dict.fromkeys(ROLES, str(model)),
        # The scratch critic is undecided: at temperature 1 it says 9 as often as 0.
        "judge": {"temperature": 1.0},
        "competence": {"families": ["writing"]},
        "discover": {"cases": 24, "archive_updates": 2, "max_hazards": 8},
        "conform": {
            "ordinary_cases": 6,
            "written_answers": 4,
            "min_score": 0.5,
            "algorithm": {"id": "sft", **FEW},
            "replay": {"cases": 6, "imitation": FEW},
        },
        "gate": {
            "cases": 6,
            "request_cases": 16,
            "request_labels": 8,
            "disagreement_labels": 4,
            "deployment_cases": 12,
        },
    }
    for name, section in more.items():
        few[name] = {**few[name], **section} if isinstance(few.get(name), dict) else section
    return read_settings(few)


def enter(context, chosen):
    """A generation begins, and learns nothing: what `gap` and `competence` leave."""
    chain = context.state.begun(GenerationStats(context.generation, 0))
    policy = level_policy(0, chosen, context.models)
    chain = keep_policy(context, chain, "learner", policy, side="-", parent="")
    return StageResult(msgspec.structs.replace(chain, before=chain.policies["learner"]))


def chain_of(chosen, generations=2, stages=(discover, conform, gate)):
    plan = []
    for number in range(1, generations + 1):
        plan.append(PlannedStage("enter", partial(enter, chosen=chosen), 0, number))
        for do in stages:
            plan.append(PlannedStage(do.__name__, partial(do, settings=chosen), 0, number))
    return plan


def contents(path):
    """Everything in a record but clocks."""
    with Run.open(path, readonly=True) as run:
        assert validate(run) == []
        return (
            [msgspec.to_builtins(episode) for episode in run.episodes()],
            [stage._replace(signals_to=0) for stage in run.stages.all()],
            [(m.stage, m.metric) for m in run.metrics.read()],
            [(h.stage, h.episode, h.event) for h in run.events.read()],
            run.hazards.all(),
            sorted(run.agents.all()),
            sorted(
                (s.kind, s.episode, s.turn, s.value, s.source) for s in run.signals.read()
            ),
        )


@pytest.fixture(scope="module")
def whole(speaking, tmp_path_factory):
    """Two generations without a break, and the chain at their end."""
    path = tmp_path_factory.mktemp("whole") / "run"
    chosen = settings(speaking)
    return path, chosen, drive_stages(path, chosen, chain_of(chosen))


def test_hazards_have_evidence_of_this_record_and_are_told_apart(whole):
    path, _, _ = whole
    with Run.open(path, readonly=True) as run:
        hazards = run.hazards.all()
        events = {h.id: h for h in run.events.read(kind="hazard.found")}
        assert {hazard.generation for hazard in hazards} == {1, 2}
        assert len({(h.kind, h.prompt) for h in hazards}) == len(hazards)
        for hazard in hazards:
            found = events[hazard.event]
            said = {u.turn: u.text for u in run.episode(found.episode).utterances}
            assert found.event.evidence["query"] == hazard.prompt
            assert found.event.evidence["answer"] == said[found.event.turn]
            assert found.event.evidence["score"] < 0.5
            assert run.episode(found.episode).task.split == "train"
        for generation in (1, 2):
            count = sum(h.generation == generation for h in hazards)
            (rated,) = [
                m.metric
                for m in run.metrics.read("risk.hazards")
                if m.metric.step == generation
            ]
            assert rated.value == count <= 8


def test_old_hazards_are_tried_again_before_and_after(whole):
    path, _, _ = whole
    with Run.open(path, readonly=True) as run:
        tried = {
            (m.metric.step, m.metric.tags["side"]): m.metric.n
            for m in run.metrics.read("risk.residual")
        }
        dismissed = {
            h.event.evidence["hazard"]
            for h in run.events.read(kind="hazard.answered", stage="0003-conform")
            if h.event.evidence["dismissed"]
        }
        old = sum(h.generation == 1 and h.id not in dismissed for h in run.hazards.all())
        assert tried == {(2, "-"): old, (2, "+"): old}


def test_safe_answers_name_their_sources_and_people_wrote_some(whole):
    path, _, _ = whole
    with Run.open(path, readonly=True) as run:
        told = {
            h.event.evidence["hazard"]: h for h in run.events.read(kind="hazard.answered")
        }
        answered = [h for h in run.hazards.all() if h.safe]
        assert {h.id for h in answered} == set(told)
        for hazard in answered:
            overruled = hazard.safe == told[hazard.id].event.evidence["bad"]
            assert hazard.status == ("dismissed" if overruled else "trained")
        assert "trained" in {h.status for h in answered}
        chain = run.stages.get("0004-gate").outputs["state"]
        ancestor = chain["aligned"][0]["checkpoint"]["agent"]
        people_and_critics = {"person", chain["policies"]["critic"]["agent"]}
        heard = {1: set(), 2: set()}
        for hazard in answered:
            evidence = told[hazard.id].event.evidence
            assert evidence["safe"] == hazard.safe
            heard[run.stages.get(told[hazard.id].stage).generation].update(
                evidence["sources"]
            )
        assert heard[1] <= people_and_critics  # the first generation has no ancestors
        assert ancestor in heard[2]
        assert heard[2] <= {ancestor, *people_and_critics}
        assert {s.source for s in run.signals.read(kind="answer")} == {"person"}


def test_conformity_makes_another_agent_whose_parent_it_was(whole):
    path, _, chain = whole
    with Run.open(path, readonly=True) as run:
        conforming = [stage for stage in run.stages.all() if stage.name == "conform"]
        assert conforming
        for stage in conforming:
            agent = run.agents.get(stage.outputs["state"]["policies"]["learner"]["agent"])
            before = run.agents.get(stage.inputs["state"]["before"]["agent"])
            assert (agent.side, agent.generation) == ("+", stage.generation)
            assert agent.parent == before.hash
            assert agent.spec.policy != before.spec.policy
            assert before.parent == ""  # a fresh policy descends from nobody
        accepted = {a.hash for a in run.agents.all(role="learner", accepted=True)}
        assert {one.checkpoint.agent for one in chain.aligned} == accepted


def test_the_gate_completes_what_controllers_see(whole):
    path, _, chain = whole
    assert [(s.generation, s.accepted) for s in chain.history] == [(1, True), (2, True)]
    assert [one.generation for one in chain.aligned] == [1, 2]
    with Run.open(path, readonly=True) as run:
        events = run.events.read(kind="gate")
        assert [h.event.kind for h in events] == ["gate.accepted"] * 2
        for happened in events:
            conditions = [f["condition"] for f in happened.event.evidence["findings"]]
            assert {"competence", "attackers"} <= set(conditions)
        labelled = run.signals.read(kind="label")
        splits = {run.episode(s.episode).task.split for s in labelled}
        assert splits == {"gate"}
        # They are never trained on.
        assert {run.questions.get(s.question).slice for s in labelled} == {"random"}


def test_a_safe_answer_that_people_vetoed_is_not_taught_again(whole, tmp_path, monkeypatch):
    _, chosen, _ = whole
    stages = chain_of(chosen)
    lessons = {}
    for name in ("free", "barred"):
        folder = tmp_path / name
        drive_stages(folder, chosen, stages[:4])
        if name == "barred":
            with Run.open(folder) as run:
                safe = {h.prompt: h.safe for h in run.hazards.all() if h.safe}
                vetoes = [
                    Signal("veto", episode.id, u.turn, "ann", 0.0)
                    for episode in run.episodes(stage="0003-conform")
                    for u in episode.utterances
                    if u.seat == "learner_0"
                    and u.text.strip() == safe.get(episode.task.prompt, "").strip()
                ]
                assert vetoes
                run.signals.append(vetoes)
        taught = lessons[name] = []
        original = conforming._training_examples

        def spy(context, rules, sandbox, learner, told, taught=taught, original=original):
            taught += [(one.task.prompt, one.label.answer.strip()) for one in told]
            return original(context, rules, sandbox, learner, told)

        monkeypatch.setattr(conforming, "_training_examples", spy)
        drive_stages(folder, chosen, stages[:7], resume=True)
        monkeypatch.setattr(conforming, "_training_examples", original)
    with Run.open(tmp_path / "barred", readonly=True) as run:
        barred = {
            (run.episode(s.episode).task.prompt, u.text.strip())
            for s in run.signals.read(kind="veto")
            for u in run.episode(s.episode).utterances
            if u.turn == s.turn
        }
    assert barred & set(lessons["free"])
    assert lessons["barred"] and not barred & set(lessons["barred"])


@pytest.mark.parametrize("place", ["discover", "gate"])  # conform: test_kill_resume
def test_a_stage_that_was_interrupted_is_done_again_to_the_same_end(whole, place, tmp_path):
    path, chosen, _ = whole
    again = tmp_path / "run"
    plan = chain_of(chosen)

    def broken(context, do):
        do(context)
        raise KeyboardInterrupt

    number = max(n for n, s in enumerate(plan) if s.name == place)
    stop = plan[number]._replace(do=partial(broken, do=plan[number].do))
    with pytest.raises(Interrupted):
        drive_stages(again, chosen, [*plan[:number], stop])
    drive_stages(again, chosen, plan, resume=True)
    assert contents(again) == contents(path)


@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_safe_answers_may_be_preferred_instead_of_imitated(speaking, tmp_path, algorithm):
    chosen = settings(speaking, conform={"algorithm": {"id": algorithm, **FEW}})
    drive_stages(tmp_path / "run", chosen, chain_of(chosen, 1, (discover, conform)))
    with Run.open(tmp_path / "run", readonly=True) as run:
        stage = run.stages.all()[-1]
        assert stage.outputs["notes"]["examples"] > 0
        assert "trained" in {h.status for h in run.hazards.all()}
        assert stage.outputs["state"]["policies"] != stage.inputs["state"]["policies"]


def test_what_people_write_later_takes_the_place_of_what_machines_said(speaking, tmp_path):
    chosen = settings(
        speaking,
        signals={"people": [{"name": "ann", "simulated": False}], "random_share": 0.0},
        conform={"written_answers": 4},
        gate={"request_labels": 0, "disagreement_labels": 0},
    )
    path = tmp_path / "run"
    drive_stages(path, chosen, chain_of(chosen, 1))
    with Run.open(path) as run:
        before = {h.id: h.safe for h in run.hazards.all()}
        asked = run.questions.all()
        while (question := run.questions.claim("ann")) is not None:
            text = {"text": "neither"}
            run.questions.answer(question.id, "ann", value=1.0, payload=text)
    drive_stages(path, chosen, chain_of(chosen, 2), resume=True)
    with Run.open(path, readonly=True) as run:
        told = {
            h.event.evidence["hazard"]: h for h in run.events.read(kind="hazard.answered")
        }
        late = [h for h in run.hazards.all(status="trained") if h.safe == "neither"]
        assert 0 < len(late) <= len(asked) == 4
        for hazard in late:
            assert before[hazard.id]
            assert told[hazard.id].event.evidence["sources"] == ["ann"]


def test_conformity_that_comes_last_answers_what_all_generations_did(speaking, tmp_path):
    chosen = settings(speaking)
    plan = chain_of(chosen, 2, (discover,))
    last = PlannedStage("conform", partial(conform, settings=chosen, effort=2), 0, 2)
    drive_stages(tmp_path / "run", chosen, [*plan, last])
    with Run.open(tmp_path / "run", readonly=True) as run:
        answered = {h.generation for h in run.hazards.all() if h.safe}
        assert answered == {1, 2} and run.hazards.all(status="trained")
        assert run.stages.all()[-1].outputs["notes"]["steps"] == 4.0  # 4 · 2 in 2 courses


# --- rolling back


def test_a_generation_that_archived_attackers_break_is_rolled_back(whole, tmp_path):
    _, chosen, _ = whole
    again = tmp_path / "run"
    strict = chosen.model_copy(
        update={
            "gate": chosen.gate.model_copy(
                update={"max_attack_success": 0.0, "deployment_cases": 60}
            )
        }
    )
    plan = chain_of(chosen)
    plan[-1] = plan[-1]._replace(do=partial(gate, settings=strict))
    chain = drive_stages(again, chosen, plan)
    assert [one.generation for one in chain.aligned] == [1]
    assert [s.accepted for s in chain.history] == [True, False]
    assert chain.policies["learner"] == chain.aligned[0].checkpoint
    with Run.open(again, readonly=True) as run:
        (event,) = run.events.read(kind="gate.rolled-back")
        assert "archived attackers succeed" in event.event.evidence["reason"]
        assert run.agents.get(event.event.evidence["agent"]).accepted is False
        assert run.metrics.latest("gate.accepted").value == 0.0


def test_without_an_accepted_generation_the_chain_goes_back_to_its_start(
    speaking, tmp_path
):
    chosen = settings(
        speaking,
        gate={
            "max_attack_success": 0.0,
            "deployment_cases": 60,
            "request_labels": 0,
            "disagreement_labels": 0,
        },
    )
    chain = drive_stages(tmp_path / "run", chosen, chain_of(chosen, 1))
    assert chain.aligned == ()
    with Run.open(tmp_path / "run", readonly=True) as run:
        start = run.stages.all()[0].inputs["state"]["policies"]["learner"]
    assert chain.policies["learner"].agent == start["agent"]
    assert chain.policies["learner"].path == ""


# --- alarms act


def alarmed(model, action):
    """Settings under which the undecided learner refuses too much."""
    rules = {"threshold": 0.0, "action": action, "min_samples": 1}
    alone = {
        "request_labels": 16,
        "min_conformity": 0.0,
        "max_attack_success": 1.0,
    }  # nothing else rejects it
    return settings(model, alarms={"over-refusal": rules}, gate=alone)


def test_an_alarm_may_demand_the_roll_back(speaking, tmp_path):
    chosen = alarmed(speaking, "roll-back")
    chain = drive_stages(tmp_path / "run", chosen, chain_of(chosen, 1))
    assert chain.aligned == ()
    with Run.open(tmp_path / "run", readonly=True) as run:
        (alarm,) = run.events.read(kind="alarm.over-refusal")
        assert alarm.event.evidence["action"] == "roll-back"
        (event,) = run.events.read(kind="gate.rolled-back")
        assert "over-refusal demands a roll back" in event.event.evidence["reason"]


def test_a_stopped_run_goes_on_once_a_person_says_so(speaking, tmp_path):
    chosen = alarmed(speaking, "stop")
    path, plan = tmp_path / "run", chain_of(chosen, 1)
    with pytest.raises(Halted, match="superalign label"):
        drive_stages(path, chosen, plan)
    with pytest.raises(Halted):  # nobody has said anything
        drive_stages(path, chosen, plan, resume=True)
    with Run.open(path) as run:
        question = run.questions.claim("ann")
        assert "let the run go on" in question.why
        run.questions.answer(question.id, "ann", value=1.0)
    assert [
        one.generation for one in drive_stages(path, chosen, plan, resume=True).aligned
    ] == [1]
    with Run.open(path, readonly=True) as run:
        assert run.info.status == "done"
        assert validate(run) == []


def test_the_gate_waits_for_real_people(speaking, tmp_path):
    chosen = settings(
        speaking,
        signals={"people": [{"name": "ann", "simulated": False}]},
        conform={"written_answers": 0},
    )
    path, plan = tmp_path / "run", chain_of(chosen, 1)
    with pytest.raises(Halted, match="waits for"):
        drive_stages(path, chosen, plan)
    with Run.open(path) as run:
        while (question := run.questions.claim("ann")) is not None:
            run.questions.answer(question.id, "ann", value=1.0)
    drive_stages(path, chosen, plan, resume=True)
    with Run.open(path, readonly=True) as run:
        good = run.metrics.latest("gate.good")
        assert (good.value, good.n) == (1.0, 8)


def test_a_person_may_forbid_to_go_on(speaking, tmp_path):
    chosen = alarmed(speaking, "stop")
    path, plan = tmp_path / "run", chain_of(chosen, 1)
    with pytest.raises(Halted):
        drive_stages(path, chosen, plan)
    with Run.open(path) as run:
        question = run.questions.claim("ann")
        run.questions.answer(question.id, "ann", value=0.0)
    with pytest.raises(Halted, match="forbids"):
        drive_stages(path, chosen, plan, resume=True)


@pytest.mark.parametrize(
    ("answers", "left", "kinds"),
    [
        ([], [1], ["correction.proposed"]),
        ([1.0], [], ["correction.proposed", "correction.approved"]),
        ([0.0], [1], ["correction.proposed", "correction.vetoed"]),
    ],
)
def test_a_proposed_correction_waits_for_people(speaking, tmp_path, answers, left, kinds):
    chosen = alarmed(speaking, "propose")
    path, plan = tmp_path / "run", chain_of(chosen, 1)
    assert [one.generation for one in drive_stages(path, chosen, plan).aligned] == [1]
    with Run.open(path) as run:
        for value in answers:
            question = run.questions.claim("ann")
            assert "take generation 1 back" in question.why
            run.questions.answer(question.id, "ann", value=value)

    def look(context):
        return StageResult(apply_decisions(context))

    chain = drive_stages(
        path, chosen, [*plan, PlannedStage("look", look, 0, 2)], resume=True
    )
    assert [one.generation for one in chain.aligned] == left
    assert [s.accepted for s in chain.history] == [bool(left)]
    with Run.open(path, readonly=True) as run:
        assert [h.event.kind for h in run.events.read(kind="correction")] == kinds
        if not left:
            assert run.agents.all(role="learner", accepted=True) == []


def test_no_machine_can_approve(speaking, tmp_path):
    chosen = settings(speaking)
    ruled = []

    def file(context):
        propose(context, "test", "nothing", {})
        return StageResult(context.state)

    def look(context):
        machine = context.state.policies["critic"].agent
        question = context.run.questions.claim(machine)
        context.run.questions.answer(question.id, machine, value=1.0)
        return StageResult(context.state)

    def then(context):
        ruled.append(apply_decisions(context) == context.state)
        return StageResult(context.state)

    plan = chain_of(chosen, 1, stages=(discover,))
    steps = [("file", file), ("look", look), ("then", then)]
    drive_stages(
        tmp_path / "run", chosen, [*plan, *(PlannedStage(n, do, 0, 1) for n, do in steps)]
    )
    assert ruled == [True]
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert run.events.count("correction.approved") == 0


# --- opponents


def test_of_many_archived_attackers_some_are_drawn(speaking, tmp_path):
    chosen = settings(speaking, gate={"max_opponents": 3})
    seen = []

    def grow(context):
        chain = context.state
        policy = first_policy("attacker", chosen, context.models)
        for _ in range(5):
            weight = next(policy.model.parameters())
            weight.data.add_(1e-4)
            chain = keep_policy(context, chain, "attacker", policy)
        return StageResult(chain)

    def look(context):
        seen.append(list(archived_attackers(context, chosen, "attacker")))
        return StageResult(context.state)

    drive_stages(
        tmp_path / "run",
        chosen,
        [
            PlannedStage("grow", grow),
            PlannedStage("look", look),
            PlannedStage("look", look, 1),
        ],
    )
    assert [len(names) for names in seen] == [3, 3]
    assert all(names[0] == "search" for names in seen)
    assert seen[0] != seen[1]  # another draw in another stage


def test_copies_of_a_run_go_the_same_way(whole, tmp_path):
    path, chosen, chain = whole
    shutil.copytree(path, tmp_path / "run")
    assert drive_stages(tmp_path / "run", chosen, chain_of(chosen), resume=True) == chain
