"""Experiments: a cell is computed once, whatever happens, and figures say what they are."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import superalign_training
from superalign_env import registry
from superalign_env.cli import build
from superalign_env.errors import (
    CellsFailed,
    InvalidOption,
    ProtocolError,
    RecordError,
    RecordLocked,
    UnknownId,
)
from superalign_env.measures import Estimate, Ratio, mean, paired_difference, ratio
from superalign_env.store import Run
from superalign_training.experiments import (
    CellContext,
    Experiment,
    ExperimentResult,
    ResultTable,
    Seeds,
    Steps,
    column,
    means,
    run_experiment,
)
from superalign_training.experiments.engine import cache
from superalign_training.experiments.engine.plan import Job, plan
from superalign_training.experiments.engine.pool import CellResult
from superalign_training.experiments.engine.results import (
    bands,
    flat,
    forest,
    shown,
    write_svg,
)
from superalign_training.experiments.engine.watching import (
    CellBar,
    CellLines,
    TimeLeft,
    span,
)
from superalign_training.selfplay.driver import Moment

SEEDS = Seeds(claim=(100, 101, 102), quick=(0,), tune=(0, 1))
CONDITIONS = {"low": {"shift": 0, "size": 9}, "high": {"shift": 2.5, "size": 9}}

TOY = '''
"""A toy that other processes can import."""
import os
from pathlib import Path

from superalign_env.seeding import generator
from superalign_training.experiments import Experiment, Seeds


def cell(params, seed, context):
    """Return one number."""
    with open(Path(__file__).with_name("calls.txt"), "a") as calls:
        calls.write(f"{params['shift']} {seed}\\n")
    if os.environ.get("TOY_DIES") == f"{params['shift']} {seed}":
        os.kill(os.getpid(), 9)
    if os.environ.get("TOY_WAITS") == f"{params['shift']} {seed}":
        (context.folder / "half").write_text("done")
        import time
        time.sleep(600)
    context.step(1, 2)
    drawn = generator(seed).normal(size=params["size"])
    return {"value": float(drawn.sum() + params["shift"]),
            "continued": (context.folder / "half").exists()}


EXPERIMENT = Experiment(
    name="toy",
    question="Is it a toy?",
    revision=1,
    conditions={"low": {"shift": 0, "size": 9}, "high": {"shift": 2.5, "size": 9}},
    seeds=Seeds(claim=(100, 101, 102), quick=(0,)),
    cell=cell,
    quick={"size": 2},
)
'''


class Toy:
    """Cells that count their calls and fail on demand."""

    def __init__(self):
        self.calls = []
        self.fails = set()
        self.stops = set()

    def cell(self, params, seed, context):
        self.calls.append((params["shift"], seed))
        if seed in self.stops:
            (context.folder / "half").write_text("done")
            raise KeyboardInterrupt
        if seed in self.fails:
            raise ValueError(f"seed {seed} is cursed")
        half = (context.folder / "half").exists()
        return {"value": seed + params["shift"], "size": params["size"], "continued": half}

    def experiment(self, **changes):
        known = {
            "name": "toy",
            "question": "Is it a toy?",
            "revision": 1,
            "conditions": CONDITIONS,
            "seeds": SEEDS,
            "cell": self.cell,
            "quick": {"size": 2},
        }
        return Experiment(**(known | changes))


class Heard(CellLines):
    def __init__(self):
        self.lines = []
        super().__init__(self.lines.append)

    @property
    def text(self):
        return "\n".join(self.lines)


class Steady(Heard):
    """Hears how far cells are."""

    def __init__(self):
        super().__init__()
        self.shares = []

    def step(self, job, share):
        self.shares.append((job.condition, job.seed, share))


@pytest.fixture(autouse=True)
def same_code(monkeypatch):
    """Nobody edits the sources meanwhile; `test_experiment_sources` looks at real ones."""
    code(monkeypatch, toy="1")


@pytest.fixture
def toy():
    return Toy()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A folder with a toy that can be imported, and the environment to do so."""
    (tmp_path / "toy_experiment.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_experiment", raising=False)
    yield tmp_path
    sys.modules.pop("toy_experiment", None)


def imported():
    import toy_experiment  # noqa: PLC0415 - written by the fixture

    return toy_experiment.EXPERIMENT


# --- cells are computed once ---------------------------------------------------------


def test_a_cell_is_computed_once(toy, folder):
    first = run_experiment(toy.experiment(), folder)
    assert len(toy.calls) == 6
    assert run_experiment(toy.experiment(), folder).line() == first.line()
    assert len(toy.calls) == 6


def test_all_conditions_of_a_seed_come_before_the_next_seed(toy, folder):
    run_experiment(toy.experiment(), folder)
    assert toy.calls[:3] == [(0, 100), (2.5, 100), (0, 101)]


def test_only_what_is_new_is_computed(toy, folder):
    run_experiment(toy.experiment(), folder)
    more = {**CONDITIONS, "middle": {"shift": 1, "size": 9}}
    run_experiment(toy.experiment(conditions=more), folder, seeds=(100, 103))
    assert toy.calls[6:] == [(1, 100), (0, 103), (2.5, 103), (1, 103)]


def test_conditions_with_equal_parameters_share_a_cell_whatever_they_are_called(
    toy, folder
):
    twice = {"a": {"shift": 0, "size": 9}, "b": {"size": 9, "shift": 0}}
    report = run_experiment(toy.experiment(conditions=twice), folder, seeds=(7,))
    assert toy.calls == [(0, 7)]
    assert report.line()["a_value"] == report.line()["b_value"] == 7


def test_a_raised_revision_computes_everything_again_and_keeps_the_old_cells(toy, folder):
    run_experiment(toy.experiment(), folder)
    heard = Heard()
    run_experiment(toy.experiment(revision=2), folder, watcher=heard)
    assert len(toy.calls) == 12
    assert "cells of revision 1" in heard.text
    with Run.open(folder, readonly=True) as run:
        assert [c.revision for c in run.cells.all("toy")] == ["1"] * 6 + ["2"] * 6


def test_a_cell_is_the_same_read_from_the_record_or_just_computed(toy, folder):
    def cell(params, seed, context):
        return {"pair": (1, 2.0), "none": None, "nested": {"yes": True}}

    seen = []

    def reduce(outcomes):
        seen.append(outcomes)
        return ExperimentResult({})

    experiment = toy.experiment(cell=cell, reduce=reduce)
    run_experiment(experiment, folder)
    run_experiment(experiment, folder)
    assert seen[0] == seen[1]
    assert seen[0]["low"][100] == {"pair": [1, 2.0], "none": None, "nested": {"yes": True}}


def test_what_cells_share_is_made_once(toy, folder):
    made = []

    def cell(params, seed, context):
        def make(place):
            made.append(seed)
            (place / "weights").write_text(str(seed))

        return {"read": int((context.shared(make, seed=seed) / "weights").read_text())}

    report = run_experiment(toy.experiment(cell=cell), folder)
    assert made == [100, 101, 102]
    assert [cell.result["read"] for cell in report.cells] == [100, 100, 101, 101, 102, 102]


def test_what_was_half_made_is_not_shared(tmp_path):
    def breaks(place):
        (place / "half").write_text("")
        raise OSError

    context = CellContext(tmp_path, "cell", scope="toy")
    with pytest.raises(OSError):
        context.shared(breaks, what="it")
    made = context.shared(lambda place: (place / "whole").write_text(""), what="it")
    assert [path.name for path in made.iterdir()] == ["whole"]


def test_a_cell_says_what_it_cost(toy, folder):
    def cell(params, seed, context):
        context.spend("tokens", 10)
        context.spend("tokens", 5)
        return {}

    cells = run_experiment(toy.experiment(cell=cell), folder).cells
    assert cells
    for done in cells:
        assert done.cost["tokens"] == 15
        assert done.seconds >= 0
        assert done.cost["cpu-seconds"] >= 0


# --- what goes wrong -----------------------------------------------------------------


def test_a_failed_cell_keeps_its_error_and_is_tried_again_alone(toy, folder):
    toy.fails = {101}
    with pytest.raises(CellsFailed, match="2 of 6 cells failed") as raised:
        run_experiment(toy.experiment(), folder)
    assert "low seed 101: ValueError: seed 101 is cursed" in str(raised.value)
    assert "Traceback" in (folder / "errors.txt").read_text()
    assert not (folder / "result.json").exists()  # a result without them would be biased
    with Run.open(folder, readonly=True) as run:
        assert run.info.status == "failed"
        failed = [cell for cell in run.cells.all() if cell.status == "failed"]
        assert {cell.seed for cell in failed} == {101}
        assert "cursed" in failed[0].error
    toy.fails = set()
    toy.calls.clear()
    run_experiment(toy.experiment(), folder)
    assert toy.calls == [(0, 101), (2.5, 101)]
    assert not (folder / "errors.txt").exists()


def test_what_is_missing_is_said_before_any_cell_begins(toy, folder):
    def ready(conditions):
        asked.append([params["shift"] for params in conditions])
        if len(asked) == 1:
            raise InvalidOption("fetch the model first")

    asked: list = []
    experiment = toy.experiment(ready=ready)
    with pytest.raises(InvalidOption, match="fetch the model first"):
        run_experiment(experiment, folder)
    assert toy.calls == []
    run_experiment(experiment, folder)
    run_experiment(experiment, folder)  # all cells are known: nothing is needed
    assert asked == [[0, 2.5] * 3] * 2


def test_an_interrupted_cell_continues_in_its_folder(toy, folder):
    toy.stops = {101}
    with pytest.raises(KeyboardInterrupt):
        run_experiment(toy.experiment(), folder)
    with Run.open(folder, readonly=True) as run:
        assert run.info.status == "interrupted"
        assert [c.status for c in run.cells.all()] == ["done", "done", "running"]
    toy.stops = set()
    report = run_experiment(toy.experiment(), folder)
    assert toy.calls.count((0, 100)) == 1
    continued = [cell.seed for cell in report.cells if cell.result["continued"]]
    assert continued == [101]


@pytest.mark.parametrize(
    "returned", [{"value": float("nan")}, {1: 2, "a": 3}, [1, 2], None, {"x": object()}]
)
def test_a_cell_that_returns_no_plain_values_has_failed_and_is_told_why(
    toy, folder, returned
):
    experiment = toy.experiment(cell=lambda params, seed, context: returned)
    with pytest.raises(CellsFailed, match="plain, finite JSON values"):
        run_experiment(experiment, folder)


def test_one_process_at_a_time(toy, folder):
    run_experiment(toy.experiment(), folder)
    with Run.open(folder), pytest.raises(RecordLocked):
        run_experiment(toy.experiment(), folder)


def test_a_folder_of_something_else_is_left_alone(toy, folder, tmp_path):
    run_experiment(toy.experiment(), folder)
    with pytest.raises(
        RecordError, match=r"not other full; choose another folder with --out"
    ):
        run_experiment(toy.experiment(name="other"), folder)
    with pytest.raises(RecordError, match="not toy quick"):
        run_experiment(toy.experiment(), folder, mode="quick")
    Run.create(tmp_path / "played", kind="play", config={}, seed=0).close()
    with pytest.raises(RecordError, match=r"\(play\), not toy full"):
        run_experiment(toy.experiment(), tmp_path / "played")


# --- what other code computed --------------------------------------------------------


def code(monkeypatch, **files):
    monkeypatch.setattr(cache, "snapshot", lambda cell: files)


def test_cells_of_other_code_are_used_with_a_warning_that_names_it(
    toy, folder, monkeypatch
):
    code(monkeypatch, ppo="1", sft="1")
    assert run_experiment(toy.experiment(), folder, seeds=(100,)).line()["code"] != "mixed"
    code(monkeypatch, ppo="2", sft="1")
    heard = Heard()
    report = run_experiment(toy.experiment(), folder, watcher=heard)
    assert "2 of the cells were computed (or begun) by other code" in heard.text
    assert "differs in ppo." in heard.text
    assert report.line()["code"] == "mixed"
    assert "different code" in (folder / "result.md").read_text()
    assert len(toy.calls) == 6


def test_recomputing_makes_the_code_one_again(toy, folder, monkeypatch):
    code(monkeypatch, ppo="1")
    run_experiment(toy.experiment(), folder, seeds=(100,))
    code(monkeypatch, ppo="2")
    report = run_experiment(toy.experiment(), folder, recompute=True)
    assert len(toy.calls) == 8
    assert len(report.code) == 1
    heard = Heard()
    run_experiment(toy.experiment(), folder, recompute=True, watcher=heard)
    assert len(toy.calls) == 8
    assert "warning" not in heard.text


def test_a_cell_that_continues_what_other_code_began_counts_as_other_code(
    toy, folder, monkeypatch
):
    code(monkeypatch, ppo="1")
    toy.stops = {100}
    with pytest.raises(KeyboardInterrupt):
        run_experiment(toy.experiment(), folder)
    toy.stops = set()
    code(monkeypatch, ppo="2")
    assert run_experiment(toy.experiment(), folder).line()["code"] == "mixed"


# --- many processes ------------------------------------------------------------------


def left(folder):
    names = ("result.json", "result.md", "picture.svg")
    return {name: (folder / name).read_bytes() for name in names}


def test_two_processes_leave_the_same_bytes_as_one_and_only_the_cell_of_a_dead_one_failed(
    module, monkeypatch
):
    experiment, heard = imported(), Steady()
    with monkeypatch.context() as dying, pytest.raises(CellsFailed) as raised:
        dying.setenv("TOY_DIES", "2.5 102")
        run_experiment(experiment, module / "two", jobs=2, watcher=heard)
    assert "1 of 6 cells failed" in str(raised.value)
    assert "high seed 102: the process of this cell ended with exit code -9" in str(
        raised.value
    )
    told = {(name, seed, 0.5) for name in ("low", "high") for seed in (100, 101, 102)}
    assert set(heard.shares) == told - {("high", 102, 0.5)}
    run_experiment(experiment, module / "two")
    run_experiment(experiment, module / "one")
    assert left(module / "one") == left(module / "two")
    calls = (module / "calls.txt").read_text().splitlines()
    assert sorted(calls[:6]) == sorted(calls[7:])
    assert calls[6] == "2.5 102"


def test_a_cell_that_others_cannot_import_is_refused_before_anything_starts(toy, folder):
    def cell(params, seed, context):
        return {}

    with pytest.raises(InvalidOption, match="move the cell to the top of a module"):
        run_experiment(toy.experiment(cell=cell), folder, jobs=2)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_experiment_resumes_where_it_was(module, jobs, how):
    script = (
        "import sys; from toy_experiment import EXPERIMENT\n"
        "from superalign_training.experiments import run_experiment\n"
        "if __name__ == '__main__': run_experiment(EXPERIMENT, 'run', jobs=int(sys.argv[1]))"
    )
    (module / "go.py").write_text(script)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, sys.path)))
    half = module / "run" / "cells"
    running = subprocess.Popen(
        [sys.executable, "go.py", jobs],
        cwd=module,
        env=environment | {"TOY_WAITS": "0 101"},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(half.glob("*/half")):
        time.sleep(0.05)
    others = {"1": 2, "2": 5}[jobs]  # two processes finish all cells but the one that waits
    while finished(module / "run") < others:
        time.sleep(0.05)
    running.send_signal(how)
    assert running.wait() != 0
    ended(running.pid)
    before = (module / "calls.txt").read_text().splitlines()
    done = subprocess.run(
        [sys.executable, "go.py", jobs], cwd=module, env=environment, check=False
    )
    assert done.returncode == 0
    calls = (module / "calls.txt").read_text().splitlines()
    again = calls[len(before) :]
    assert again.count("0 101") == 1
    assert set(calls[: len(before)]) & set(again) == {"0 101"}
    cells = json.loads((module / "run" / "result.json").read_text())["cells"]
    continued = [c for c in cells if c["result"]["continued"]]
    assert [(c["params"]["shift"], c["seed"]) for c in continued] == [(0, 101)]


def finished(folder):
    with Run.open(folder, readonly=True) as run:
        return sum(cell.status == "done" for cell in run.cells.all())


def ended(session):
    """Wait until nobody of a killed session lives on."""
    with contextlib.suppress(ProcessLookupError):
        while True:
            os.killpg(session, 0)
            time.sleep(0.1)


# --- what may be claimed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "seeds", "status"),
    [
        ("full", None, "claim"),
        ("full", (102, 101, 100), "claim"),
        ("full", (100, 101), "exploratory: not a claim"),
        ("full", (100, 101, 102, 103), "exploratory: not a claim"),
        ("quick", None, "quick: not a claim"),
        ("quick", (5,), "quick: not a claim"),
        ("tune", None, "tuning: not a claim"),
    ],
)
def test_only_frozen_settings_on_exactly_the_frozen_seeds_are_a_claim(
    toy, folder, mode, seeds, status
):
    report = run_experiment(toy.experiment(), folder, mode=mode, seeds=seeds)
    assert report.line()["status"] == status
    assert report.is_claim == (status == "claim")
    assert json.loads((folder / "result.json").read_text())["status"] == status
    assert (folder / "result.md").read_text().startswith(f"# toy: {status}")
    words = (folder / "picture.svg").read_text()
    assert f"<!-- {status} -->" in words  # glyphs are paths; matplotlib names them beside


@pytest.mark.parametrize("mode", ["quick", "tune"])
def test_seeds_of_a_claim_are_spent_on_nothing_else(toy, mode):
    with pytest.raises(InvalidOption, match="seeds 100 of toy are kept for its claim"):
        plan(toy.experiment(), mode=mode, seeds=(3, 100))


def test_quick_replaces_sizes_and_nothing_else(toy, folder):
    report = run_experiment(toy.experiment(), folder, mode="quick")
    assert report.plan.conditions == {
        "low": {"shift": 0, "size": 2},
        "high": {"shift": 2.5, "size": 2},
    }
    assert toy.calls == [(0, 0), (2.5, 0)]


def test_tuning_compares_candidates_on_the_tuning_seeds(toy, folder):
    candidates = {"bold": {"shift": 9, "size": 1}}
    report = run_experiment(toy.experiment(candidates=candidates), folder, mode="tune")
    assert toy.calls == [(9, 0), (9, 1)]
    assert report.line()["bold_value"] == 9.5


@pytest.mark.parametrize(
    "seeds",
    [
        {"claim": (1, 2), "quick": (2,), "tune": ()},
        {"claim": (1, 2), "tune": (1,)},
        {"claim": (11, 12), "spent": (12,)},
        {"claim": (11, 11)},
        {"claim": ()},
        {"claim": (11,), "quick": ()},
        {"claim": (-1,)},
    ],
)
def test_claims_come_from_seeds_that_nobody_looked_at(seeds):
    with pytest.raises(InvalidOption):
        Seeds(**seeds)


def test_an_experiment_that_makes_no_sense_is_refused(toy):
    with pytest.raises(InvalidOption, match="no conditions"):
        toy.experiment(conditions={})
    with pytest.raises(InvalidOption, match="replaces steps, which no condition has"):
        toy.experiment(quick={"steps": 1})
    with pytest.raises(InvalidOption, match="plain JSON"):
        toy.experiment(conditions={"a": {"shift": float("inf")}})


def test_the_name_of_a_cell_depends_on_everything_and_on_no_order(toy):
    one = toy.experiment()
    name = one.cell_hash({"a": 1, "b": 2}, 3)
    assert name == one.cell_hash({"b": 2, "a": 1}, 3)
    others = [
        one.cell_hash({"a": 1, "b": 3}, 3),
        one.cell_hash({"a": 1, "b": 2}, 4),
        replace(one, revision=2).cell_hash({"a": 1, "b": 2}, 3),
        replace(one, name="x").cell_hash({"a": 1, "b": 2}, 3),
    ]
    assert len({name, *others}) == 5


# --- figures -------------------------------------------------------------------------

CELLS = {"low": {1: {"x": 1.0, "deep": {"y": 3}}, 2: {"x": 2.0, "deep": {"y": 5}}}}


def test_figures_are_flat_under_exact_names():
    found = flat(
        {
            "share": Estimate(0.12345, 0.1, 0.2, 9),
            "gain": paired_difference({1: 2.0, 2: 4.0}, {1: 1.0, 2: 2.0}),
            "pgr": Ratio(None, mean([1.0]), mean([0.0])),
            "count": 3,
        },
        digits=2,
    )
    assert list(found)[:3] == ["share", "share_low", "share_high"]
    assert found["share"] == 0.12
    assert (found["gain"], found["gain_wins"]) == (1.5, 1.0)
    assert (found["pgr"], found["pgr_numerator"], found["pgr_denominator"]) == (
        None,
        1.0,
        0.0,
    )
    assert found["count"] == 3


def test_one_seed_has_no_interval_in_json_tables_and_pictures(tmp_path):
    alone = mean([0.5])
    assert flat({"x": alone}, digits=2) == {"x": 0.5, "x_low": None, "x_high": None}
    assert shown(alone) == "0.500 (n = 1)"
    ratios = ratio([1.0], [2.0], guard=0.05)
    assert shown(ratios) == "0.500 (n = 1)"
    assert shown(ratio([1.0], [0.01], guard=0.05)).startswith(
        "undefined: 1.000 (n = 1) / 0.010"
    )
    pairs = paired_difference({1: 2.0}, {1: 1.0})
    assert shown(pairs) == "1.000 (n = 1), p 1"

    def draw(figure):
        forest(figure, {"a": alone, "b": pairs, "c": ratios, "d": mean([0.0, 1.0])})
        bands(
            figure.subplots(), {"one": {1: [(0, 1.0)]}, "two": {1: [(0, 1)], 2: [(0, 2)]}}
        )

    write_svg(tmp_path / "one.svg", draw, title="one")
    assert "nan" not in (tmp_path / "one.svg").read_text()


def test_means_are_taken_over_seeds():
    assert means(CELLS).figures == {"low_x": mean([1.0, 2.0])}
    assert column(CELLS["low"], "deep", "y") == {1: 3.0, 2: 5.0}
    with pytest.raises(InvalidOption, match="seed 1 has no z; it has x, deep"):
        column(CELLS["low"], "z")


def test_figures_may_not_hide_what_the_line_says_itself(toy, folder):
    experiment = toy.experiment(
        reduce=lambda _: ExperimentResult({"status": "claim", "seeds": 3})
    )
    with pytest.raises(InvalidOption, match="may not be called seeds, status"):
        run_experiment(experiment, folder, seeds=(1,))
    assert run_experiment(experiment, folder).line()["seeds"] == 3  # says the same


def test_a_report_shows_tables_figures_and_settings(toy, folder):
    def reduce(outcomes):
        rows = [("low | high", mean([1.0, 2.0, 3.0]))]
        return ExperimentResult(
            {"x": 1.5}, (ResultTable("rows", ("who", "what"), rows),), "It is a toy."
        )

    run_experiment(toy.experiment(reduce=reduce), folder)
    page = (folder / "result.md").read_text()
    assert "It is a toy." in page
    assert r"| low \| high | 2.000 [-0.484, 4.484] |" in page
    assert '`{"shift":2.5,"size":9}`' in page


def test_a_ratio_without_meaning_shows_its_parts_and_one_seed_shows_no_interval():
    undefined = Ratio(None, mean([1.0]), mean([0.0, 1.0]))
    assert shown(undefined).startswith("undefined: 1.000 (n = 1) / 0.500 [")


def test_an_experiment_may_draw_its_own_picture(toy, folder):
    drawn = []
    experiment = toy.experiment(picture=lambda figure, outcomes: drawn.append(outcomes))
    run_experiment(experiment, folder)
    assert drawn[0]["high"][100]["value"] == 102.5


# --- watching ------------------------------------------------------------------------


def test_the_time_that_is_left_is_that_of_like_cells_shared_by_the_workers():
    jobs = [Job(f"{c}{s}", c, {}, s) for s in range(3) for c in ("short", "long")]
    left = TimeLeft(jobs, workers=2)
    assert left.left() is None
    left.take(jobs[0], 1.0)
    assert left.left() == pytest.approx(5 * 1.0 / 2)
    left.take(jobs[1], 9.0)
    assert left.left() == pytest.approx((2 * 1.0 + 2 * 9.0) / 2)


def test_a_cell_that_says_how_far_it_is_stands_for_the_others():
    jobs = [Job(str(s), "long", {}, s) for s in range(3)]
    left = TimeLeft(jobs, workers=1)
    left.step(jobs[0], 0.25, 10.0)
    assert left.left() == pytest.approx(40 * 0.75 + 2 * 40)
    left.take(jobs[0], 50.0)
    left.step(jobs[1], 0.5, 5.0)
    assert left.left() == pytest.approx(50 * 0.5 + 50)


def test_a_bench_tells_of_every_hundredth_and_of_no_more(tmp_path):
    told = []
    context = CellContext(tmp_path, "cell", scope="toy", on_progress=told.append)
    for done in range(1000):
        context.step(done, 1000)
    assert 90 < len(told) < 100
    assert told == sorted(told)


def test_the_stages_of_a_run_within_a_cell_move_it_on(tmp_path):
    told = []
    steps = Steps(CellContext(tmp_path, "cell", scope="toy", on_progress=told.append))
    steps.skip(Moment("judge", 0, 0, place=0, of=4), ())
    steps.begin(Moment("learn", 1, 0, place=1, of=4))
    steps.step(1, 2, {})
    steps.end(())
    assert told == [0.25, 0.375, 0.5]


def test_a_bar_shows_what_runs_how_far_it_is_and_what_is_left():
    now = iter(range(0, 1000, 10))
    shown_on = Console(file=io.StringIO(), force_terminal=True, width=120)
    jobs = [Job(str(s), "long", {}, s) for s in range(2)]
    with CellBar(shown_on, clock=lambda: next(now)) as bar:
        bar.start(jobs, cached=3, workers=1)
        bar.begin(jobs[0])
        bar.step(jobs[0], 0.5)
        bar._progress.refresh()
        bar.end(jobs[0], CellResult({"gain": 0.5}, 20.0))
    words = shown_on.file.getvalue()
    assert "3/5 cells" in words
    assert "long 0 50%" in words
    assert "about 30 s left" in words
    assert "long seed 0 in 20 s: gain 0.5" in words


def test_a_cell_says_how_far_it_is(module):
    heard = Steady()
    run_experiment(imported(), module / "run", seeds=(7,), watcher=heard)
    assert heard.shares == [("low", 7, 0.5), ("high", 7, 0.5)]


def test_lines_show_numbers_failures_and_no_control_sequence():
    heard = Heard()
    job = Job("h", "low", {}, 1)
    heard.start([job], cached=2, workers=1)
    heard.end(job, CellResult({"a": 1.5, "deep": {"b": 2}, "text": "x"}, 3.0))
    heard.end(job, CellResult({}, 3.0, error="Traceback\nValueError: \x1b[31mred"))
    assert "1 cells to compute, 2 found" in heard.lines[0]
    assert "a 1.5, deep b 2" in heard.lines[1]
    assert "FAILED: ValueError" in heard.lines[2]
    assert "\x1b" not in heard.text


def test_times_are_said_as_people_say_them():
    spans = [span(s) for s in (None, 1.23, 42, 600, 9000)]
    assert spans == ["?", "1.2 s", "42 s", "10 min", "2.5 h"]


# --- plug-ins ------------------------------------------------------------------------


@pytest.fixture
def registered(module, monkeypatch):
    """The toy, registered as a plug-in would."""
    table = superalign_training.PLUGINS["experiment"]
    monkeypatch.setitem(table, "toy", ("toy_experiment:EXPERIMENT", "is it a toy?"))
    monkeypatch.setitem(table, "not-toy", ("toy_experiment:EXPERIMENT", "another name"))
    registry.refresh()
    yield module
    monkeypatch.undo()
    registry.refresh()


def test_a_plug_in_must_register_an_experiment_of_its_own_name(registered):
    from superalign_training.experiments.commands import load  # noqa: PLC0415 - only here

    assert load("toy").name == "toy"
    with pytest.raises(
        ProtocolError, match="must be an Experiment whose name is 'not-toy'"
    ):
        load("not-toy")


def superalign(*words):
    return CliRunner().invoke(build(), ["experiment", *words])


def test_the_command_ends_with_one_line_of_figures(registered, monkeypatch):
    monkeypatch.chdir(registered)
    done = superalign("toy", "--quick")
    assert done.exit_code == 0, done.output
    line = json.loads(done.output.splitlines()[-1])
    assert (line["status"], line["seeds"]) == ("quick: not a claim", 1)
    assert {"low_value", "low_value_low", "low_value_high"} <= set(line)
    assert (registered / "runs" / "toy-quick" / "result.md").is_file()


def test_the_command_takes_other_seeds_and_another_folder(registered):
    done = superalign("toy", "--seeds", "3:5,7", "--out", str(registered / "there"))
    line = json.loads(done.output.splitlines()[-1])
    assert (line["status"], line["seeds"]) == ("exploratory: not a claim", 3)
    assert (registered / "there" / "picture.svg").is_file()


@pytest.mark.parametrize("words", [(), ("--list",)])
def test_the_command_lists_what_can_be_run(words):
    listed = superalign(*words)
    assert listed.exit_code == 0
    assert "first-self-play" in listed.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("first-self-paly",), "did you mean first-self-play?"),
        (("first-self-play", "--seeds", "ten"), "write 0:10 for 0 to 9, or 100,101"),
        (("first-self-play", "--seeds", "5:5"), "5:5 holds no seed"),
        (("first-self-play", "--seeds", "-1"), "is no seed"),
        (("first-self-play", "--quick", "--seeds", "130"), "kept for its claim"),
        (("first-self-play", "--quick", "--tune"), "choose one"),
    ],
)
def test_a_misused_command_says_what_to_do(words, message):
    said = superalign(*words)
    assert isinstance(said.exception, InvalidOption | UnknownId)
    assert message in str(said.exception)


def test_every_registered_experiment_is_whole():
    from superalign_training.experiments.commands import load  # noqa: PLC0415 - only here

    names = registry.entries("experiment")
    assert len(names) > 3
    for name in names:
        experiment = load(name)
        assert experiment.quick, f"{name} has nothing to be quick with"
        assert plan(experiment).status == "claim"
        assert plan(experiment, mode="quick").jobs()
        file = sys.modules[experiment.cell.__module__].__file__
        assert len(Path(file).read_text().split('"""')[1]) > 300, "say what was tried"
