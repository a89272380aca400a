"""The sink of episodes: never in the way of the loop, and nothing flushed is lost."""

import pickle
import subprocess
import sys
import threading
import time

import pytest

from superalign_env.errors import RecordError, RecordFull
from superalign_env.store import EpisodeWriter, Run, validate
from superalign_env.store.writer import BatchWriter
from superalign_env.types import (
    AgentSpec,
    Ending,
    Episode,
    EpisodeKey,
    Event,
    Reply,
    Reward,
    Task,
    Utterance,
)

SPEC = AgentSpec("fixed", {"text": "no"})


def small(case, text="no", **fields):
    known = {
        "id": f"e{case}",
        "scenario": "toy-v0",
        "task": Task("t", "requests", "do it"),
        "key": EpisodeKey(case=case),
        "seats": {"learner_0": SPEC},
        "utterances": (Utterance("learner_0", 0, 0, text, Reply(text)),),
        "rewards": (Reward("learner_0", "truth", 1.0, 0),),
        "ending": Ending.terminated(),
    }
    return Episode(**(known | fields))


@pytest.fixture
def run(tmp_path):
    with Run.create(tmp_path / "run", kind="play", config={}, seed=0) as run:
        yield run


def until(true, seconds=600):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)
    assert true()


def test_a_full_batch_is_written_without_being_asked(run):
    with EpisodeWriter(run, batch=4, every=1000) as writer:
        writer.write([small(n) for n in range(4)])
        until(lambda: run.count() == 4)


def test_an_unfinished_batch_is_written_after_a_while(run):
    with EpisodeWriter(run, every=0.05) as writer:
        writer.write([small(0)])
        until(lambda: run.count() == 1)


def test_flush_returns_when_everything_is_on_disk(run):
    with EpisodeWriter(run, batch=16, every=1000) as writer:
        for n in range(100):
            writer.write([small(n)])
        writer.flush()
        assert run.count() == 100


def test_closing_the_run_closes_its_writers(tmp_path):
    run = Run.create(tmp_path / "run", kind="play", config={}, seed=0)
    EpisodeWriter(run, every=1000).write([small(0)])
    run.close()
    with Run.open(tmp_path / "run", readonly=True) as again:
        assert again.episode("e0") == small(0)


def test_an_interrupt_keeps_what_was_handed_over(run):
    with pytest.raises(KeyboardInterrupt), EpisodeWriter(run, every=1000) as writer:
        writer.write([small(0)])
        raise KeyboardInterrupt
    assert run.count() == 1


def test_a_closed_writer_takes_nothing(run):
    writer = EpisodeWriter(run)
    writer.close()
    writer.close()
    with pytest.raises(RecordError, match="closed"):
        writer.write([small(0)])


def test_a_killed_process_keeps_every_batch_before(tmp_path):
    code = (
        "import os, sys\n"
        "from superalign_env.store import EpisodeWriter, Run\n"
        "from superalign_env.types import *\n"
        "run = Run.create(sys.argv[1], kind='play', config={}, seed=0)\n"
        "writer = EpisodeWriter(run, every=1000)\n"
        "def played(n): return Episode(f'e{n}', 'toy-v0', Task('t', 'f', 'p'), EpisodeKey(case=n),\n"
        "    {'learner_0': AgentSpec('a')}, (Utterance('learner_0', 0, 0, 'no'),), (), Ending.terminated())\n"
        "writer.write([played(n) for n in range(1000)]); writer.flush()\n"
        "writer.write([played(1000)])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=False)
    assert done.returncode != 0
    with Run.open(tmp_path / "run") as run:
        assert run.count() == 1000
        assert validate(run) == []
        with EpisodeWriter(run) as writer:
            writer.write([small(1000)])
        assert run.count() == 1001


def test_an_episode_that_ends_with_the_interpreter_is_kept(tmp_path):
    code = (
        "import sys\n"
        "from superalign_env.store import EpisodeWriter, Run\n"
        "from superalign_env.types import *\n"
        "run = Run.create(sys.argv[1], kind='play', config={}, seed=0)\n"
        "EpisodeWriter(run, every=1000).write([Episode('e', 'toy-v0', Task('t', 'f', 'p'),\n"
        "    EpisodeKey(), {}, (), (), Ending.terminated())])\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "run"], check=True)
    with Run.open(tmp_path / "run", readonly=True) as run:
        assert run.episode_ids() == ["e"]


def test_writing_the_same_episode_again_changes_nothing(run):
    with EpisodeWriter(run) as writer:
        writer.write([small(0), small(1)])
        writer.flush()
        writer.write([small(1), small(2), small(2)])
    assert run.episode_ids() == ["e0", "e1", "e2"]
    assert len(list(run.rewards())) == 3
    assert validate(run) == []


def test_another_episode_of_a_used_name_is_refused_and_the_rest_is_written(run):
    writer = EpisodeWriter(run)
    writer.write([small(0)])
    writer.flush()
    writer.write([small(0, text="yes"), small(1)])
    with pytest.raises(RecordError, match="e0 with other content"):
        writer.flush()
    writer.close()
    assert run.episode("e0") == small(0)
    assert run.episode_ids() == ["e0", "e1"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"rewards": (Reward("learner_0", "truth", float("nan"), 0),)}, "finite"),
        ({"rewards": (Reward("learner_0", "truth", float("inf"), 0),)}, "finite"),
        ({"text": "\ud800"}, "surrogates"),
        ({"events": (Event("x", evidence={"value": float("nan")}),)}, "finite"),
        (
            {"utterances": (Utterance("s", 0, 0, "", Reply("", token_ids=(2**31,))),)},
            "32-bit",
        ),
    ],
)
def test_what_cannot_be_recorded_is_named_and_costs_no_other_episode(run, bad, why):
    writer = EpisodeWriter(run)
    writer.write([small(0), small(1, **bad), small(2)])
    with pytest.raises(RecordError, match=f"episode e1 cannot be recorded: .*{why}"):
        writer.flush()
    writer.close()
    assert run.episode_ids() == ["e0", "e2"]


def test_an_error_reaches_the_loop_and_nothing_is_lost(run, monkeypatch):
    def broken(self, episodes):
        raise RuntimeError("the disk caught fire")

    writer = EpisodeWriter(run, batch=1)
    with monkeypatch.context() as patch:
        patch.setattr(BatchWriter, "write", broken)
        writer.write([small(0)])
        with pytest.raises(RuntimeError, match="caught fire"):
            for n in range(1, 10_000):
                writer.write([small(n)])
                time.sleep(0.001)
    writer.flush()
    assert run.episode_ids() == [f"e{m}" for m in range(n + 1)]
    writer.close()


def test_closing_says_what_could_not_be_written(run, monkeypatch):
    def broken(self, episodes):
        raise RuntimeError("the disk caught fire")

    monkeypatch.setattr(BatchWriter, "write", broken)
    writer = EpisodeWriter(run, every=1000)
    writer.write([small(0)])
    with pytest.raises(RuntimeError, match="caught fire"):
        writer.close()


def test_what_was_prepared_waits_after_an_error_and_is_written_again(run):
    with EpisodeWriter(run, every=1000) as writer:
        prepared = pickle.loads(pickle.dumps(writer.preparing()))([small(0), small(1)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(BatchWriter, "insert", full)
            writer.write_prepared(prepared)
            with pytest.raises(RecordFull):
                writer.flush()
        writer.write_prepared(writer.preparing()([small(1), small(2)]))  # one of them again
        writer.flush()
        assert sorted(run.episode_ids()) == ["e0", "e1", "e2"]
    with pytest.raises(RecordError, match="is closed"):
        writer.write_prepared(prepared)


def full(self, batch):
    raise RecordFull("no room")


def test_a_loop_far_ahead_of_the_disk_waits(run, monkeypatch):
    gate = threading.Event()
    write = BatchWriter.write

    def slow(self, episodes):
        assert gate.wait(20)
        return write(self, episodes)

    monkeypatch.setattr(BatchWriter, "write", slow)
    writer = EpisodeWriter(run, batch=1)
    ahead = threading.Thread(
        target=lambda: [writer.write([small(n)]) for n in range(100)], daemon=True
    )
    ahead.start()
    ahead.join(0.3)
    assert ahead.is_alive()
    gate.set()
    ahead.join(600)
    writer.close()
    assert run.count() == 100


def test_a_busy_loop_does_not_starve_the_writer(run):
    """Each statement waits 5 ms for the interpreter: row by row, ten seconds for these."""
    with EpisodeWriter(run, batch=1000, every=1000) as writer:
        statements = []
        writer._batches._database.connection.set_trace_callback(statements.append)
        writer.write([small(n) for n in range(512)])
        writer.flush()
        assert run.count() == 512
        assert 2 <= len(statements) < 40


def test_episodes_that_wait_are_written_while_a_loop_is_busy(run):
    with EpisodeWriter(run, batch=1000, every=0.05) as writer:
        writer.write([small(0)])
        begun = time.monotonic()
        while run.count() < 1 and time.monotonic() - begun < 60:
            sum(range(200_000))
        assert run.count() == 1


def test_an_interrupt_while_writing_loses_nothing(run, monkeypatch):
    def interrupted(self, episodes):
        raise KeyboardInterrupt

    with EpisodeWriter(run, batch=2, every=1000) as writer:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(BatchWriter, "write", interrupted)
            writer.write([small(n) for n in range(3)])
        assert run.count() == 0
    assert run.episode_ids() == ["e0", "e1", "e2"]


def test_a_stage_that_never_ended_can_be_discarded_and_played_again(run):
    kept = run.stages.begin("evaluate").id
    broken = run.stages.begin("self-play").id
    with EpisodeWriter(run, stage=kept) as writer:
        writer.write([small(0)])
    run.stages.finish(kept)
    with EpisodeWriter(run, stage=broken) as writer:
        writer.write([small(1, text="old", events=(Event("text.repaired"),))])
    run.events.add(Event("alarm.collapse"), stage=broken)
    assert run.stages.discard(broken) == 1
    assert run.episode_ids() == ["e0"]
    assert run.events.read() == []
    assert validate(run) == []
    again = run.stages.begin("self-play").id
    assert again == broken
    with EpisodeWriter(run, stage=again) as writer:
        writer.write([small(1, text="new")])
    assert run.episode("e1") == small(1, text="new")
    with pytest.raises(RecordError, match="done"):
        run.stages.discard(kept)


@pytest.mark.slow
@pytest.mark.parametrize("flushes", [1, 2, 3, 5, 9, 20, 60])
def test_whenever_a_process_is_killed_what_it_flushed_is_there(tmp_path, flushes):
    code = (
        "import sys\n"
        "from superalign_env.store import EpisodeWriter, Run\n"
        "from superalign_env.types import *\n"
        "run = Run.create(sys.argv[1], kind='play', config={}, seed=0)\n"
        "writer = EpisodeWriter(run, batch=64)\n"
        "for n in range(10**9):\n"
        "    said = (Utterance('learner_0', 0, 0, 'no' * 50),)\n"
        "    writer.write([Episode(f'e{n}', 'toy-v0', Task('t', 'f', 'p'), EpisodeKey(case=n),\n"
        "        {'learner_0': AgentSpec('a')}, said, (), Ending.terminated())])\n"
        "    if n % 37 == 0:\n"
        "        writer.flush(); print(n, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = [process.stdout.readline() for _ in range(flushes)]
        process.kill()
        told += process.stdout
    flushed = int(told[-1])
    with Run.open(tmp_path / "run") as run:
        assert run.count() > flushed
        assert set(run.episode_ids()) >= {f"e{n}" for n in range(flushed + 1)}
        assert validate(run) == []
