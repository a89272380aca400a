"""A run that was killed, however often and wherever, ends as one that never was.

Endpoint agents are excepted: what they say is not ours. Processes are killed at a line that
they say or at an operation that they count, so nothing here depends on the machine's speed.
`benchmarks/chaos.py` kills many more.
"""

import random

import pytest

from benchmarks.killing import (
    ASKS,
    CHAIN,
    PEOPLE,
    SELF_PLAY,
    Mishap,
    Worker,
    answer,
    outcome,
    train,
)
from superalign_env.store import Run, standing

RUNS = {"self-play": SELF_PLAY, "chain": CHAIN}


def work(settings, path, **mishap):
    """Begin or continue a run in a process of its own."""
    return Worker(train, settings, path, folder=path, mishap=Mishap(**mishap))


def end(settings, path):
    ended = work(settings, path).wait()
    assert ended.how == "done", ended
    return outcome(path)


def kill_at(settings, path, line):
    """Kill a run as soon as it says something that contains a line."""
    worker = work(settings, path)
    worker.until(line)
    worker.kill()


@pytest.fixture(scope="module", params=RUNS)
def whole(request, tmp_path_factory):
    """Settings, what a run that was never interrupted came to, and its operations."""
    settings = RUNS[request.param]
    path = tmp_path_factory.mktemp("whole") / "run"
    ended = work(settings, path).wait()
    assert ended.how == "done", ended
    return settings, outcome(path), ended.operations


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
    settings, expected, operations = whole
    path = tmp_path / "run"
    moments = random.Random(seed)
    # The first one before the run has begun, the others wherever it stands.
    for last in (20, *[operations // 5] * 4):
        assert work(settings, path, at=moments.randint(1, last)).wait().how == "killed"
    assert end(settings, path) == expected


def asking(path):
    """Return a run at work that waits for people."""
    worker = work(PEOPLE, path)
    worker.until(ASKS)
    return worker


def answers(path, limit=None):
    """Answer what is asked in a run that is at work, or was killed; return the answers' ids."""
    worker = Worker(answer, PEOPLE, path, limit, folder=path)
    assert worker.wait().how == "done"
    return worker.heard


def answered_to_the_end(worker, path):
    """Answer whatever a waiting run asks until it ends, and return what it came to."""
    while worker.process.is_alive():
        answers(path)
        worker.process.join(0.05)
    ended = worker.wait()
    assert ended.how == "done", ended
    return outcome(path)


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_waited_loses_no_answer_and_asks_none_twice(
    tmp_path,
):
    whole, path = tmp_path / "whole", tmp_path / "run"
    expected = answered_to_the_end(asking(whole), whole)
    filed = []
    # Nobody has answered yet; one of several answers was filed; the last one of a batch was,
    # and the run goes on at this moment; the same again, up to the second round.
    for limit in (0, 1, None, None, 0, 1):
        worker = asking(path)
        filed += answers(path, limit)
        worker.kill()
    assert answered_to_the_end(asking(path), path) == expected
    with Run.open(path, readonly=True) as run:
        said = standing(run.signals.read())
        questions = run.questions.all()
    assert set(filed) <= {str(signal.id) for signal in said}
    assert len(said) == len({signal.question for signal in said}) == len(questions)
    assert {signal.source for signal in said} == {"ann"}
    assert {q.round for q in questions} == {1, 2}
    assert {q.kind for q in questions} == {"label", "veto"}
