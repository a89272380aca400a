"""One driver: resume, interrupts, failures and seeds, on stages without any model."""

import os
import signal

import pytest
from msgspec.structs import replace

from superalign_env.errors import EpisodesFailed, InvalidOption, RecordDamaged, RecordError
from superalign_env.store import Run
from superalign_env.types import Ending, Episode, EpisodeKey, Metric, Task
from superalign_training.selfplay.driver import (
    Interrupted,
    PlannedStage,
    StageResult,
    drive,
)
from superalign_training.selfplay.state import RunState, read_memory, write_memory
from superalign_training.selfplay.stopping import sigterm_as_interrupt
from superalign_training.selfplay.watching import Silent


def episode(name, case):
    return Episode(
        name,
        "echo-v0",
        Task(f"t{case}", "words", "river"),
        EpisodeKey(case=case),
        {},
        (),
        (),
        Ending.terminated(),
    )


def counting(calls, *, stop_at=None, error=None):
    """A stage that writes an episode and a metric and adds one to a counter."""

    def do(context):
        calls.append((context.stage, context.round, context.seed))
        context.writer.write([episode(f"e-{context.stage}", len(calls))])
        if stop_at == len(calls):
            write_memory(context.run.path, "half-done", {"stop_at": stop_at})
            raise error or KeyboardInterrupt
        memory = context.state.memories.get("counter")
        count = read_memory(context.run.path, memory)["count"] if memory else 0
        kept = write_memory(context.run.path, "counter", {"count": count + 1})
        state = context.state.with_memory("counter", kept)
        return StageResult(state, (Metric("count", count + 1.0),), {"seen": count})

    return do


def plan(do, rounds=3, settings=None):
    return [
        PlannedStage("step", do, round, settings=settings or {}) for round in range(rounds)
    ]


def create(path):
    return Run.create(path, kind="train", config={}, seed=5)


def go(run, stages, **more):
    return drive(run, stages, first_state=RunState, watcher=Silent(), **more)


def contents(run):
    stages = [(s.id, s.round, s.status, s.outputs, s.rng) for s in run.stages.all()]
    metrics = [(m.stage, m.metric) for m in run.metrics.read()]
    files = sorted(path.name for path in (run.path / "checkpoints").iterdir())
    return stages, metrics, run.episode_ids(), files


def test_stages_hand_the_chain_on_and_are_recorded(tmp_path):
    with create(tmp_path / "run") as run:
        state = go(run, plan(counting([])))
        assert read_memory(run.path, state.memories["counter"]) == {"count": 3}
        stages = run.stages.all()
        assert [s.status for s in stages] == ["done"] * 3
        assert stages[1].inputs["state"] == stages[0].outputs["state"]
        assert stages[2].outputs["notes"] == {"seen": 2}
        assert run.info.status == "done"


def test_a_finished_run_does_nothing_when_driven_again(tmp_path):
    calls = []
    with create(tmp_path / "run") as run:
        go(run, plan(counting(calls)))
        before = contents(run)
        go(run, plan(counting(calls)))
        assert len(calls) == 3
        assert contents(run) == before


@pytest.mark.parametrize("stop_at", [1, 2, 3])
@pytest.mark.parametrize("error", [None, ValueError("broken")])
def test_a_run_stopped_inside_any_stage_ends_as_if_it_had_not_been(
    tmp_path, stop_at, error
):
    calls = []
    with create(tmp_path / "whole") as run:
        go(run, plan(counting([])))
        expected = contents(run)
    with create(tmp_path / "run") as run, pytest.raises(type(error or Interrupted())):
        go(run, plan(counting(calls, stop_at=stop_at, error=error)))
    with Run.open(tmp_path / "run") as run:
        assert run.info.status == ("failed" if error else "interrupted")
        assert len(run.episode_ids()) == stop_at, "what was played before the stop is kept"
        go(run, plan(counting(calls)))
        assert contents(run) == expected
        assert run.info.status == "done"
    assert len(calls) == 4, "only the stage that was stopped was done twice"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_run_like_ctrl_c_and_only_while_it_runs(tmp_path, number):
    def terminated(context):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal did not arrive")

    before = signal.getsignal(number)
    with create(tmp_path / "run") as run:
        with pytest.raises(Interrupted, match=r"superalign train run_dir=.* --resume"):
            go(run, [PlannedStage("step", terminated)])
        assert run.info.status == "interrupted"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_saved_after_a_signal_is_not_interrupted_by_the_next(number, capfd):
    before = signal.getsignal(number)
    with sigterm_as_interrupt():
        with pytest.raises(KeyboardInterrupt), sigterm_as_interrupt():
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert ("saving" in capfd.readouterr().err) == (number == signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_process_that_was_started_deaf_stays_deaf():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with sigterm_as_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_stage_and_part_has_a_seed_of_its_own(tmp_path):
    seeds = set()

    def note(context):
        seeds.update({context.seed, context.seed_of("a"), context.seed_of("b")})
        return StageResult(context.state)

    stages = [PlannedStage(name, note, round) for round in range(3) for name in ("x", "y")]
    with create(tmp_path / "run") as run:
        go(run, stages)
    assert len(seeds) == 18


def test_other_settings_or_another_order_cannot_resume_a_run(tmp_path):
    with create(tmp_path / "run") as run:
        go(run, plan(counting([]), settings={"rate": 1}))
        with pytest.raises(RecordError, match="other settings"):
            go(run, plan(counting([]), settings={"rate": 2}))
        with pytest.raises(RecordError, match="other settings"):
            go(run, [PlannedStage("else", counting([]), 0, settings={"rate": 1})] * 3)
        with pytest.raises(RecordError, match="went further"):
            go(run, plan(counting([]), rounds=2, settings={"rate": 1}))


def test_a_memory_that_was_altered_or_lost_is_noticed(tmp_path):
    memory = write_memory(tmp_path, "archive", {"found": [1]})
    assert read_memory(tmp_path, memory) == {"found": [1]}
    (tmp_path / memory.path).write_text('{"found":[2]}')
    with pytest.raises(RecordDamaged, match="altered"):
        read_memory(tmp_path, memory)
    (tmp_path / memory.path).unlink()
    with pytest.raises(RecordDamaged, match="cannot be read"):
        read_memory(tmp_path, memory)


def test_the_watcher_hears_of_every_stage(tmp_path):
    heard = []

    class Listener(Silent):
        def begin(self, moment):
            heard.append(("begin", moment.place, moment.of))

        def end(self, metrics):
            heard.append(("end", metrics[0].value))

        def skip(self, moment, metrics):
            heard.append(("skip", moment.place, moment.of, metrics[0].value))

    with create(tmp_path / "run") as run:
        drive(run, plan(counting([]), 2)[:1], first_state=RunState, watcher=Listener())
        drive(run, plan(counting([]), 2), first_state=RunState, watcher=Listener())
    assert heard == [
        ("begin", 0, 1),
        ("end", 1.0),
        ("skip", 0, 2, 1.0),
        ("begin", 1, 2),
        ("end", 2.0),
    ]


def failing(*parts):
    """A stage that plays parts of (how many, how many of them fail)."""

    def do(context):
        for count, broken in parts:
            played = [episode(f"e{case}", case) for case in range(count)]
            why = ["critic_0: timeout"] * (broken - 1) + ["learner_0: lost"]
            for case in range(broken):
                lost = Ending.failed(why[case])
                played[case] = replace(played[case], ending=lost)
            context.failures.count(played)
        return StageResult(context.state, (Metric("count", 1.0),))

    return [PlannedStage("step", do, 4)]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [(100, 100)],
            "100 of 100 episodes of the stage step failed, 99 of them so: critic_0",
        ),
        ([(100, 0), (20, 20), (10, 10)], "30 of 130 episodes"),
        ([(60, 9), (15, 10), (15, 10)], "19 of 75 episodes"),
        ([(4, 2)], "2 of 4 episodes"),
    ],
)
def test_a_stage_of_which_too_much_failed_stops_with_the_commonest_reason(
    tmp_path, parts, said
):
    with create(tmp_path / "r") as run:
        with pytest.raises(EpisodesFailed, match=said):
            go(run, failing(*parts))
        assert run.info.status == "failed"
        go(run, failing(*parts), failures=1.0)
        assert run.info.status == "done"


def test_an_error_for_want_of_what_failed_is_explained_by_it(tmp_path):
    def do(context):
        lost = Ending.failed("critic_0: prompt too long")
        context.failures.count([replace(episode("e0", 0), ending=lost)])
        raise InvalidOption("there is nothing to imitate")

    with create(tmp_path / "r") as run:
        with pytest.raises(EpisodesFailed, match="critic_0: prompt too long") as raised:
            go(run, [PlannedStage("step", do)])
        assert "nothing to imitate" in str(raised.value.__cause__)
        with pytest.raises(InvalidOption, match="nothing to imitate"):
            go(run, [PlannedStage("step", do)], failures=1.0)


def test_a_few_failures_are_a_metric_and_none_are_no_metric(tmp_path):
    with create(tmp_path / "r") as run:
        go(run, failing((60, 3)))
        failed, other = [row.metric for row in run.metrics.read()]
        assert (failed.name, failed.value, failed.n) == ("episodes.failed", 0.05, 60)
        assert failed.low < 0.05 < failed.high
        assert (failed.tags, failed.step) == ({"why": "critic_0: timeout"}, 4)
        assert other.name == "count"
    with create(tmp_path / "s") as run:
        go(run, failing((60, 0)))
        assert [row.metric.name for row in run.metrics.read()] == ["count"]


def test_a_run_state_with_fields_of_another_version_is_refused():
    with pytest.raises(RecordDamaged, match="no usable run state"):
        RunState.from_plain({**RunState().plain(), "raised": "learner"})
