"""Runs of every kind, as small as they get: what `alterations.py` alters."""

import contextlib
import io
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import msgspec

from superalign_env.cli import main
from superalign_env.seeding import generator
from superalign_env.store import Cell, EpisodeWriter, Run, declare, sealed_page
from superalign_env.types import AgentSpec, Event, Metric, Question, Signal
from superalign_training.cli.composing import composed
from superalign_training.experiments import CellContext, Experiment, Seeds, run_experiment
from superalign_training.selfplay import SelfPlay
from superalign_training.selfplay.settings import read_settings

CHAIN = """preset=chain generations=2 levels=[micro/0,micro/0@1] lineup.learner=micro/0
lineup.attacker=micro/0 lineup.critic=micro/0 train.attacker.steps=2 train.learner.steps=2
train.learner.batch_size=2 train.learner.num_generations=2 train.critic.steps=2 judge.cases=16
judge.check_cases=8 judge.max_fits=1 judge.imitation.steps=2 attack.cases=8 calibrate.cases=8
signals.labels=12 competence.cases=24 competence.control_cases=8 competence.algorithm.steps=2
discover.cases=24 discover.max_hazards=4 conform.max_hazards=4 conform.ordinary_cases=4
conform.written_answers=2 conform.algorithm.steps=2 conform.replay.cases=4
conform.replay.imitation.steps=2 gate.cases=6 gate.request_cases=8 gate.deployment_cases=8
capability.cases=4 capability.requests=10 capability.gold_tasks=16 capability.ceiling.steps=2
capability.best_of=2 capability.test_factor=1 league.share=0.5 league.cases=4 budget=0.5"""


class Answer(NamedTuple):
    """Output and exit code of a command."""

    code: int
    text: str
    traceback: str = ""


def command(*words: str) -> Answer:
    """Run `superalign` in this process."""
    said, crash, code = io.StringIO(), "", 0
    with (
        mock.patch.object(sys, "argv", ["superalign", *words]),
        mock.patch.dict("os.environ", {"COLUMNS": "400"}),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except Exception as error:  # the real command would print a traceback
            code, crash = 1, f"{type(error).__name__}: {error}"
    return Answer(code, said.getvalue(), crash or _traceback(said.getvalue()))


def _traceback(text: str) -> str:
    return text if "Traceback (most recent call last)" in text else ""


def finished_runs(folder: Path) -> dict[str, Path]:
    """Return the folders of a chain, a fork, a recording, an experiment, and of `LEFT`."""
    runs = {
        name: folder / name for name in ("chain", "fork", "recording", "experiment", *LEFT)
    }
    settings = read_settings(composed([*CHAIN.split(), f"run_dir={runs['chain']}"]))
    with contextlib.redirect_stdout(io.StringIO()):
        SelfPlay.of(settings).run()
    _well("fork", str(runs["chain"]), f"run_dir={runs['fork']}", "--at", "1", "--only")
    _label_late(runs["chain"])
    _record(runs["recording"])
    run_experiment(_experiment(), runs["experiment"])
    _well("report", str(runs["recording"]))
    with Run.open(runs["chain"], readonly=True) as run:  # its pictures take ten seconds
        page = sealed_page("<h1>Chain</h1>\n<p>drawn</p>\n", run)
    (runs["chain"] / "report.html").write_text(page, encoding="utf-8")
    for name in LEFT:
        _kill(runs["recording"], runs[name], resumed=name == "resumed")
    return runs


def _well(*words: str) -> None:
    answer = command(*words)
    if answer.code:
        raise RuntimeError(f"superalign {' '.join(words)}: {answer.text}{answer.traceback}")


def _label_late(path: Path) -> None:
    """Let a person answer after the run has ended."""
    with Run.open(path, beside=True) as run:
        episode = run.signals.read()[0].episode
        run.annotators.enroll("late", group="elders")
        run.questions.ask(
            [Question("late", "label", episode, 0), Question("open", "label", episode, 0)]
        )
        run.questions.lease("late", "late")
        run.questions.answer("late", "late", value=0.25)


def _record(path: Path) -> None:
    """Record episodes with hazards, notices, signals, questions and a lease."""
    _well("play", "red-team", "--episodes", "3", "--run", str(path))
    with Run.open(path) as run:
        episodes = [episode.id for episode in run.episodes()]
        event = run.events.add(Event("canary.hit", evidence={"b": 1, "a": 2}))
        for number in range(3):
            run.hazards.add("harm", f"request {number}", event=event, generation=1)
        run.hazards.update(run.hazards.all()[0].id, safe="refuse", status="answered")
        run.annotators.enroll("ann", group="elders")
        run.annotators.enroll("bob", group="others")
        run.questions.ask(
            [Question(f"q{n}", "label", e, 0) for n, e in enumerate(episodes)]
        )
        run.questions.claim("ann", seconds=1e9)
        run.questions.claim("bob", seconds=1e9)
        run.signals.append(
            [
                Signal("label", e, 0, "ann", n / 4, payload={"b": 1, "a": "x"})
                for n, e in enumerate(episodes)
            ]
        )


LEFT = ("killed", "resumed")
"""Left by killed processes: in a run, and in one that was stopped and resumed before."""

declare("altered", "Value that is altered")


def _kill(source: Path, path: Path, *, resumed: bool) -> None:
    """Leave a run as a process does that is killed after changes that no seal counts."""
    alive = path.with_name(f"{path.name}-alive")
    shutil.copytree(source, alive)
    with Run.open(alive) as run:
        run.set_status("running")
        run.files.keep("report.html")
        run.cells.put(Cell("sealed", "toy", {}, 0, "1", "done", {}))
        run.metrics.write([Metric("altered", 0.5), Metric("altered", 0.25)])
        run.stages.finish(run.stages.begin("first").id)
        stage = run.stages.begin("second")
        run.agents.add(AgentSpec("sealed"), role="learner")
        run.metrics.write([Metric("altered", 1.0)], stage=stage.id)
        run.stages.finish(stage.id, status="interrupted" if resumed else "done")
    with Run.open(alive) as run:
        run.stages.begin("third", again=stage.id if resumed else None)
        run.agents.add(AgentSpec("late"), role="learner")
        run.annotators.enroll("late")
        run.hazards.add("harm", "late", generation=9)
        run.hazards.update(run.hazards.all()[0].id, status="trained")
        run.cells.put(Cell("late", "toy", {}, 1, "1", "running", {}))
        run.metrics.write([Metric("late", 1.0)])
        run.events.add(Event("late"))
        episode = next(iter(run.episodes()))
        run.questions.ask([Question("late", "label", episode.id, 0)])
        with EpisodeWriter(run) as writer:
            writer.write([msgspec.structs.replace(episode, id="late")])
        shutil.copytree(alive, path)
    shutil.rmtree(alive)


def _cell(params: Mapping[str, Any], seed: int, context: CellContext) -> dict[str, Any]:
    drawn = generator(seed).normal(size=params["size"])
    return {"value": float(drawn.sum() + params["shift"])}


def _experiment() -> Experiment:
    return Experiment(
        name="toy",
        question="Is a shift seen?",
        revision=1,
        conditions={"low": {"shift": 0, "size": 9}, "high": {"shift": 2.5, "size": 9}},
        seeds=Seeds(claim=(100, 101, 102), quick=(0,)),
        cell=_cell,
        quick={"size": 2},
    )
