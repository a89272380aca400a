"""A stage is taken back whole, done again exactly, and a run goes on from it elsewhere."""

import sqlite3

import pytest

from superalign_env.errors import RecordDamaged, RecordError
from superalign_env.store import (
    EpisodeWriter,
    Run,
    digest,
    fork_record,
    question_id,
    validate,
)
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Event,
    Metric,
    Question,
    Signal,
    Task,
)

SEATS = ("first", "second", "third")


def episode(name, case, agent="original"):
    return Episode(
        name,
        "echo-v0",
        Task(f"t{case}", "words", "river"),
        EpisodeKey(case=case),
        {"speaker_0": AgentSpec(agent)},
        (),
        (),
        Ending.terminated(),
        events=(Event("text.repaired", "speaker_0", 0, {"case": case}),),
    )


def do(run, stage, number, *, upto=99):  # noqa: C901 - one exit after every step
    """What a stage may do to a record: every kind of it, in steps that can be interrupted."""
    steps = 0

    def done():
        nonlocal steps
        steps += 1
        return steps > upto

    with EpisodeWriter(run, stage=stage) as writer:
        writer.write([episode(f"e{number}-{n}", n, f"agent-{number}") for n in range(3)])
        writer.flush()
    if done():
        return
    event = run.events.add(
        Event("hazard.found", evidence={"n": number}), stage=stage, episode=f"e{number}-0"
    )
    run.hazards.add("harm", f"prompt {number}", event=event, generation=number)
    if done():
        return
    run.hazards.add("harm", f"loose {number}", generation=number)
    for hazard in run.hazards.all(status="open"):
        if hazard.generation < number:
            run.hazards.update(hazard.id, safe="refuse", status="answered")
    if done():
        return
    old = run.agents.all()[0]
    run.agents.add(
        AgentSpec(f"kept-{number}"),
        role="learner",
        generation=number,
        path=f"checkpoints/c{number}",
    )
    run.agents.accept(old.hash, accepted=bool(number % 2))
    place = run.path / "checkpoints" / f"c{number}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "weights").write_text(str(number))
    if done():
        return
    names = [f"e{number}-{n}" for n in range(3)]
    run.questions.ask(
        [Question(question_id("label", name, 0), "label", name, 0, priority=n)
         for n, name in enumerate(names)]
    )  # fmt: skip
    run.annotators.enroll("ann", group="g", profile={})
    while asked := run.questions.claim("ann"):
        run.questions.answer(asked.id, "ann", value=int(asked.id, 16) % 2)
        if done():
            return
    for turn in range(3):
        run.signals.append([Signal("vote", names[0], turn, f"model-{number}", 1)])
        if done():
            return


def whole(path, stages=3):
    with Run.create(path, kind="train", config={}, seed=1) as run:
        for number in range(stages):
            one(run, number)
    with Run.open(path, readonly=True) as run:
        return digest(run)


def one(run, number, again=None, upto=99, finish=True):
    heard = run.stages.begin("step", round=number, again=again)
    if again is not None:
        run.sweep("checkpoints")
    do(run, heard.id, number, upto=upto)
    if not finish:
        return heard
    run.metrics.write([Metric("n", number, n=heard.signals_to)], stage=heard.id)
    memory = run.path / "checkpoints" / f"m{number}.json"
    memory.write_text(str(number))
    outputs = {"chain": {"memory": {"path": f"checkpoints/m{number}.json"}}}
    return run.stages.finish(heard.id, outputs=outputs)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("upto", range(10))
def test_a_stage_that_is_done_again_leaves_what_it_would_have_left_at_once(
    tmp_path, number, upto
):
    expected = whole(tmp_path / "whole", number + 1)
    with Run.create(tmp_path / "run", kind="train", config={}, seed=1) as run:
        for earlier in range(number):
            one(run, earlier)
        broken = one(run, number, upto=upto, finish=False)
    for _ in range(2):  # killed a second time, somewhere else
        with Run.open(tmp_path / "run") as run:
            broken = one(run, number, again=broken.id, upto=upto // 2, finish=False)
    with Run.open(tmp_path / "run") as run:
        run.set_status("running")
        last = one(run, number, again=broken.id)
        assert last.signals_to == broken.signals_to
        run.set_status("done")
        assert digest(run) == expected
        assert validate(run) == []
        assert run.signals.first_broken() == 0


def test_what_people_did_meanwhile_is_not_taken_back(tmp_path):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=1) as run:
        one(run, 0)
        broken = run.stages.begin("step", round=1)
        with Run.open(tmp_path / "run", beside=True) as people:
            known = people.hazards.all()[0]
            people.hazards.update(known.id, safe="said by a person", status="answered")
            people.signals.append([Signal("label", "e0-1", 0, "bob", 1)])
        run.stages.begin("step", round=1, again=broken.id)
        assert run.hazards.all()[0].safe == "said by a person"
        assert run.signals.read(source="bob")


def test_only_a_repeated_stage_repeats_signals(tmp_path):
    vote = Signal("vote", "e", 0, "model", 1)
    with Run.create(tmp_path / "run", kind="train", config={}, seed=1) as run:
        first = run.stages.begin("step")
        assert [s.id for s in run.signals.append([vote, vote])] == [1, 2]
        run.stages.begin("step", again=first.id)
        said = run.signals.append([vote, vote, vote])
        assert [s.id for s in said] == [1, 2, 3], "the third was not said before"
        run.stages.finish(first.id)
        assert run.signals.append([vote])[0].id == 4
        assert run.signals.first_broken() == 0


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_fork_is_the_run_as_it_was_after_that_stage(tmp_path, at):
    whole(tmp_path / "source", 3)
    before = (tmp_path / "source" / "run.db").read_bytes()
    expected = whole(tmp_path / "short", at + 1)
    with Run.open(tmp_path / "source", readonly=True) as source:
        stage = source.stages.all()[at].id
        fork_record(source, tmp_path / "fork", stage=stage, config={"x": 1}, seed=5)
        parent = source.info.id
    with Run.open(tmp_path / "fork") as fork:
        info = fork.info
        assert (info.parent, info.inherited, info.seed) == (parent, stage, 5)
        assert (info.config, info.kind, info.status) == ({"x": 1}, "train", "interrupted")
        found = digest(fork)
        same = {"settings", "run"}
        assert {k: v for k, v in found.items() if k not in same} == {
            k: v for k, v in expected.items() if k not in same
        }
        assert validate(fork) == []
        one(fork, at + 1)
        assert validate(fork) == []
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            fork.database.write("DELETE FROM signals WHERE id = ?", [(1,)])
    after = (tmp_path / "source" / "run.db").read_bytes()
    assert before == after, "the source is only read"
    assert not list((tmp_path / "fork").glob("*.partial*"))


def test_a_fork_can_be_forked_and_goes_on_alike(tmp_path):
    expected = whole(tmp_path / "whole", 4)
    path = tmp_path / "source"
    whole(path, 3)
    for place, at in enumerate((2, 1)):
        with Run.open(path, readonly=True) as source:
            fork_record(
                source, tmp_path / f"fork{place}", stage=source.stages.all()[at].id,
                config={}, seed=1,
            )  # fmt: skip
        path = tmp_path / f"fork{place}"
    with Run.open(path) as fork:
        for number in (2, 3):
            one(fork, number)
        found = digest(fork)
    assert {k for k in expected if found[k] != expected[k]} <= {"settings", "run"}


def test_what_cannot_be_forked_is_said_and_leaves_no_run(tmp_path):
    whole(tmp_path / "source", 2)
    with Run.open(tmp_path / "source") as run:
        broken = run.stages.begin("step", round=2).id

    def fork(stage="0001-step", path=tmp_path / "fork"):
        with Run.open(tmp_path / "source", readonly=True) as source:
            fork_record(source, path, stage=stage, config={}, seed=0)

    with pytest.raises(RecordError, match="known: 0001-step, 0002-step"):
        fork("0009-nope")
    with pytest.raises(RecordError, match="never ended"):
        fork(broken)
    with pytest.raises(RecordError, match="is the run that is forked"):
        fork(path=tmp_path / "source")
    whole(tmp_path / "other", 1)
    with pytest.raises(RecordError, match="holds a run already"):
        fork(path=tmp_path / "other")
    (tmp_path / "source" / "checkpoints" / "m0.json").unlink()
    with pytest.raises(RecordDamaged, match=r"m0\.json is missing"):
        fork()
    with pytest.raises(RecordError, match="no run at"):
        Run.open(tmp_path / "fork")
    (tmp_path / "source" / "checkpoints" / "m0.json").write_text("0")
    fork()
    with Run.open(tmp_path / "fork") as made:
        assert len(made.stages.all()) == 1


def test_a_digest_sees_every_part(tmp_path):
    one_whole, other = (whole(tmp_path / name, 2) for name in "ab")
    assert one_whole == other
    with Run.open(tmp_path / "a") as run:
        (run.path / "checkpoints" / "c0" / "weights").write_text("other")
        run.signals.append([Signal("vote", "e0-0", 0, "late", 1)])
        changed = digest(run)
    parts = {name for name in changed if changed[name] != other[name]}
    assert parts == {"signals", "checkpoints", "run"}
