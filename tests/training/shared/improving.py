"""Runs in which only the learner of red-team learns, by pay, for some rounds."""

import threading
from functools import partial

from superalign_env.store import Run, digest, validate
from superalign_training.selfplay import rl_training
from superalign_training.selfplay.agents import first_policies
from superalign_training.selfplay.driver import PlannedStage, drive
from superalign_training.selfplay.model_cache import ModelCache
from superalign_training.selfplay.settings import read_settings
from superalign_training.selfplay.stages.improve import improve
from superalign_training.selfplay.state import first_state
from superalign_training.selfplay.watching import Silent

ROLES = ("attacker", "learner", "critic")


def grpo(**changes):
    """Return GRPO of a second or two."""
    few = {"steps": 2, "batch_size": 4, "num_generations": 2, "learning_rate": 1e-2}
    return {"id": "grpo", **few, **changes}


def settings(model, *, train=None, options=None, **more):
    """Settings in which all roles begin with one model, and nobody is asked."""
    return read_settings(
        {
            "lineup": dict.fromkeys(ROLES, str(model)),
            "train": {"learner": train or grpo()},
            # The scratch critic is undecided: at temperature 1 it says 9 as often as 0.
            "judge": {"temperature": 1.0},
            "options": {"vanilla": 1.0, **(options or {})},
            "budget": 0.0,
            **more,
        }
    )


def go(path, chosen, rounds=1, *, between=None, watcher=None, extra=()):
    """Let the learner learn for some rounds; what is done after the first gets the run."""
    do = partial(improve, settings=chosen, role="learner")
    plan = [PlannedStage("improve-learner", do, number) for number in range(1, rounds + 1)]
    begun = (path / "run.db").exists()
    run = Run.open(path) if begun else Run.create(path, kind="train", config={}, seed=5)
    with run:
        first = partial(first_state, run, first_policies(chosen, ModelCache()))
        who = watcher or Silent()
        if between is not None:
            drive(run, plan[:1], first_state=first, watcher=who)
            between(run)
        drive(run, [*plan, *extra], first_state=first, watcher=who)
        assert validate(run) == []
        return run.stages.all()[-1].outputs["state"]


def drive_stages(path, chosen, plan, *, resume=False, watcher=None, seed=5):
    """Run planned stages in a new record, or go on; return the state at their end."""
    run = Run.open(path) if resume else Run.create(path, kind="train", config={}, seed=seed)
    with run:
        policies = first_policies(chosen, ModelCache())
        return drive(
            run,
            plan,
            first_state=lambda: first_state(run, policies, generation_role="learner"),
            watcher=watcher or Silent(),
        )


def weights(chain):
    return chain["policies"]["learner"]["weights"]


def total(path, name):
    with Run.open(path, readonly=True) as run:
        return sum(row.metric.value for row in run.metrics.read(name))


def outcome(path):
    with Run.open(path, readonly=True) as run:
        return digest(run)


def spied_batches(monkeypatch):
    """Return a list to which every batch of rows is added that is learned from."""
    batches, original = [], rl_training.Live

    def spying(play, cap):
        def keep(first, count):
            batches.append(list(play(first, count)))
            return batches[-1]

        return original(keep, cap)

    monkeypatch.setattr(rl_training, "Live", spying)
    return batches


class KilledAtAStep(Silent):
    """Stops the first stage after a step."""

    def step(self, done, total, numbers):
        raise KeyboardInterrupt


class SeatedCritic(threading.Thread):
    """A person beside a run who judges what the queue shows, like ``superalign label``."""

    def __init__(self, path):
        super().__init__()
        self.path, self.done, self.shown = path, threading.Event(), []

    def run(self):
        while not self.done.wait(0.02):
            try:
                run = Run.open(self.path, beside=True)
            except Exception:
                continue
            with run:
                while (asked := run.questions.claim("bea")) is not None:
                    self.shown.append(asked.why)
                    digit = len(asked.why) % 10
                    said = {"text": f"score {digit} sure 9"}
                    run.questions.answer(asked.id, "bea", value=1.0, payload=said)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()
