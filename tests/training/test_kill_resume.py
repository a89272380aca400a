"""A run that was killed, however often and wherever, ends as one that never was.

Endpoint agents are excepted: what they say is not ours. Runs that are killed are processes
of a fork server that has imported everything, so that a kill costs no more than the run.
"""

import json
import multiprocessing
import random
import time

import pytest

from superalign_env.errors import RecordDamaged
from superalign_env.store import Run, digest, validate
from superalign_training.selfplay import SelfPlay
from superalign_training.watching import LogLines

FEW = {"steps": 2, "batch_size": 8}

SELF_PLAY = {
    "lineup": {"attacker": "micro/1", "learner": "micro/1", "critic": "micro/1"},
    "train": {
        "attacker": FEW,
        "learner": {"steps": 2, "batch_size": 3, "num_generations": 2},
        "critic": FEW,
    },
    "rounds": 2,
    "budget": 0.3,
    "judge": {
        "cases": 16, "check_cases": 8, "single_answer_steps": 1, "max_fits": 1, "imitation": FEW,
    },
    "attack": {"cases": 12, "archive_updates": 2, "min_distinct": 0.0},
    "supervise": {"cases": 6, "num_generations": 2, "algorithm": {"id": "sft", **FEW}, "replay": {"cases": 4}},
    "calibrate": {"cases": 6},
    "league": {"share": 0.3, "cases": 4},
    "evaluate": {
        "cases": 10, "attack_cases": 4, "fresh_queries": 6, "fresh_waves": 2,
        "families": ["arithmetic"], "family_cases": 3,
    },
}  # fmt: skip

CHAIN = {
    **{key: SELF_PLAY[key] for key in ("lineup", "train", "judge", "attack", "calibrate")},
    "generations": 2,
    "rounds": 1,
    "budget": 0.2,
    "levels": ["micro/0", "micro/1"],
    "gap": "fixed-small",
    "signals": {"labels": 24, "models": ["micro/0@1"]},
    "competence": {"cases": 24, "control_cases": 8, "algorithm": {"steps": 2}},
    "discover": {"cases": 12, "archive_updates": 2, "max_hazards": 6, "score_threshold": 0.9},
    "conform": {
        "max_hazards": 8, "ordinary_cases": 6, "written_answers": 6, "algorithm": {"steps": 2},
        "replay": {"cases": 4, "imitation": FEW},
    },
    "gate": {"cases": 6, "request_cases": 8, "request_labels": 4, "disagreement_labels": 4, "deployment_cases": 8},
    "capability": {
        "cases": 4, "requests": 10, "gold_tasks": 16, "ceiling": {"steps": 2}, "best_of": 2,
        "test_factor": 1,
    },
}  # fmt: skip

RUNS = {"self-play": SELF_PLAY, "chain": CHAIN}

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["superalign_training.selfplay"])


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


def kill_at(settings, path, line):
    """Kill a run as soon as it says something that begins like that."""
    hear, say = context.Pipe(duplex=False)
    process = start(settings, path, say.send)
    say.close()
    heard = []
    try:
        while not any(line in text for text in heard):
            heard.append(hear.recv())
    except EOFError:
        raise AssertionError(f"{line} was never said, but {heard}") from None
    process.kill()
    process.join()
    hear.close()


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
