"""A run that was killed, however often and wherever, ends as one that never was.

Endpoint agents are excepted: what they say is not ours. Runs that are killed are processes
of a fork server that has imported everything, so that a kill costs no more than the run.
"""

import json
import multiprocessing
import random
import time

import pytest
import small_runs
from small_runs import FEW, small_run

from superalign_env.errors import RecordDamaged
from superalign_env.humans.simulated import SimulatedAnnotator, work_off
from superalign_env.store import Run, digest, standing, validate
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.playing import stage_scenario
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.watching import LogLines

SELF_PLAY = small_run(
    "micro/1",
    rounds=2,
    supervise={
        **{"cases": 6, "num_generations": 2},
        **{"algorithm": {"id": "sft", **FEW}, "replay": {"cases": 4}},
    },
    league={"share": 0.3, "cases": 4},
)
CHAIN = small_run("micro/1", **{**small_runs.CHAIN, "levels": ["micro/0", "micro/1"]})

RUNS = {"self-play": SELF_PLAY, "chain": CHAIN}

WAITING = {
    "lineup": {"attacker": "search", "learner": "micro/1", "critic": "micro/1"},
    "train": {
        "attacker": None,
        "learner": {"id": "reinforce", "steps": 2, "batch_size": 8},
        "critic": None,
    },
    "rounds": 2,
    "budget": 0.5,
    "people": {"mode": "wait", "kinds": {"label": 2, "veto": 1}},
    "evaluate": SELF_PLAY["evaluate"],
}
"""Real people are asked after each of four batches, and the run waits for them."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["superalign_training.selfplay.run"])


def start(settings, path, send=None):
    """Begin or continue a run in a process of its own."""
    watcher = LogLines(send, every=0) if send is not None else None
    play = SelfPlay(run_dir=str(path), watcher=watcher, **settings)
    process = context.Process(target=play.run, kwargs={"resume": is_begun(path)})
    process.start()
    return process


def is_begun(path):
    try:
        Run.open(path, readonly=True).close()
    except (RecordDamaged, FileNotFoundError):
        return False
    except Exception as error:
        assert "no run at" in str(error), error
        return False
    return True


def outcome(path):
    with Run.open(path, readonly=True) as run:
        assert validate(run) == []
        return {**digest(run), "summary": json.loads((path / "summary.json").read_text())}


@pytest.fixture(scope="module", params=RUNS)
def whole(request, tmp_path_factory):
    """Settings, what a run that was never interrupted came to, and how long it took."""
    settings = RUNS[request.param]
    path = tmp_path_factory.mktemp("whole") / "run"
    began = time.monotonic()
    SelfPlay(run_dir=str(path), **settings).run()
    return settings, outcome(path), time.monotonic() - began


def begun_to(settings, path, line):
    """Begin or continue a run, and return its process once it has said a line."""
    hear, say = context.Pipe(duplex=False)
    process = start(settings, path, say.send)
    say.close()
    heard = []
    try:
        while not any(line in text for text in heard):
            heard.append(hear.recv())
    except EOFError:
        raise AssertionError(f"{line} was never said, but {heard}") from None
    process.hear = hear  # it would fail if nobody listened
    return process


def kill(process):
    process.kill()
    process.join()
    process.hear.close()


def kill_at(settings, path, line):
    """Kill a run as soon as it says something that contains a line."""
    kill(begun_to(settings, path, line))


def end(settings, path):
    SelfPlay(run_dir=str(path), **settings).run(resume=is_begun(path))
    return outcome(path)


def test_a_chain_that_was_killed_ends_as_one_that_was_not(finished_chain, tmp_path):
    with Run.open(finished_chain, readonly=True) as run:
        settings = {**run.info.config}
    del settings["run_dir"]
    kill_at(settings, tmp_path / "run", "generation 2 round 1 conform 1/")
    assert end(settings, tmp_path / "run") == outcome(finished_chain)


KILLS = {
    "self-play": [
        "judge 1/",
        "attack 1/2",
        "improve-learner done",
        "round 2 improve-learner 1/",
        "test 1/",
    ],
    "chain": [
        "competence 1/",
        "discover 2/2",
        "generation 1 round 0 conform 1/",
        "improve-learner done",
        "measure done",
        "generation 2 round 2 gate",
    ],
}


@pytest.mark.slow
def test_a_run_that_was_killed_several_times_ends_as_one_that_was_not(
    whole, request, tmp_path
):
    settings, expected, _ = whole
    path = tmp_path / "run"
    for line in KILLS[request.node.callspec.params["whole"]]:
        kill_at(settings, path, line)
    assert end(settings, path) == expected


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_is_killed_at_random_moments_ends_as_one_that_was_not(
    whole, tmp_path, seed
):
    settings, expected, seconds = whole
    path = tmp_path / "run"
    moments = random.Random(seed)
    for _ in range(5):
        process = start(settings, path)
        process.join(moments.uniform(0.0, seconds * 0.6))
        process.kill()
        process.join()
    assert end(settings, path) == expected


def say(settings, path, limit=None):
    """Answer what is asked in a run that is at work, or was killed; return the answers."""
    scenario = stage_scenario(read_settings(settings), split="train")
    person = SimulatedAnnotator("ann", accuracy=0.8)
    with Run.open(path, beside=True) as run:
        run.annotators.enroll("ann")
        return work_off(
            run.questions, person, episode_of=run.episode, scenario=scenario, limit=limit
        )


def answered_to_the_end(process, path):
    """Answer whatever a waiting run asks until it ends, and return what it came to."""
    while process.is_alive():
        say(WAITING, path)
        process.join(0.05)
    assert process.exitcode == 0
    return outcome(path)


ASKS = "questions wait for people"


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_waited_loses_no_answer_and_asks_none_twice(
    tmp_path,
):
    whole, path = tmp_path / "whole", tmp_path / "run"
    expected = answered_to_the_end(begun_to(WAITING, whole, ASKS), whole)
    filed = []
    # Nobody has answered yet; one of several answers was filed; the last one of a batch was,
    # and the run goes on at this moment; the same again, up to the second round.
    for limit in (0, 1, None, None, 0, 1):
        process = begun_to(WAITING, path, ASKS)
        filed += say(WAITING, path, limit)
        kill(process)
    process = begun_to(WAITING, path, ASKS)
    assert answered_to_the_end(process, path) == expected
    with Run.open(path, readonly=True) as run:
        said = standing(run.signals.read())
        questions = run.questions.all()
    assert {signal.id for signal in filed} <= {signal.id for signal in said}
    assert len(said) == len({signal.question for signal in said}) == len(questions)
    assert {signal.source for signal in said} == {"ann"}
    assert {q.round for q in questions} == {1, 2}
    assert {q.kind for q in questions} == {"label", "veto"}
