"""Runs are watched by people at terminals, and by logs."""

import io

import msgspec
import numpy as np
import pytest
from rich.console import Console

from superalign_env.cli.record import show
from superalign_env.report import write_report
from superalign_env.store import Run, declare
from superalign_env.types import Metric
from superalign_training.evaluation.chain_summary import summarise_chain
from superalign_training.evaluation.summary import summarise
from superalign_training.selfplay.driver import Moment
from superalign_training.selfplay.watching.live import (
    LiveTable,
    LogLines,
    highlights,
    line_of,
    summary_tables,
)
from superalign_training.selfplay.watching.standings import COLUMNS, Standings


def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def moment(stage, round=1, generation=0, place=0, of=9):
    return Moment(stage, round, generation, place, of)


def shown(*taken):
    console = screen()
    standings = Standings()
    for when, metrics in taken:
        standings.take(when, metrics)
    for table in standings.tables(console.width):
        console.print(table)
    return console.file.getvalue()


def test_a_terminal_shows_the_stage_that_runs_and_a_row_for_every_round():
    console = screen()
    misses = [
        Metric("refusals.miss", value, tags={"split": "gate"}) for value in (0.75, 0.25)
    ]
    with LiveTable(console) as live:
        live.skip(moment("evaluate", round=0), misses[:1])
        live.begin(moment("learn", place=1))
        live.step(3, 7, {"reward": 0.25, "grad_norm": 9.0})
        live._live.refresh()
        live.end([Metric("reward", 0.5)])
        live.begin(moment("evaluate", place=2))
        live.end(misses[1:])
    text = console.file.getvalue()
    assert "[2/9] round 1 learn" in text
    assert "3/7 reward 0.250" in text
    assert "grad_norm" not in text
    last = text[text.rindex("misses") :]
    assert "before" in last and "0.75" in last
    assert "round 1" in last and "0.25" in last


def test_a_generation_is_one_row_with_its_level_and_the_verdict_of_the_gate():
    text = shown(
        (moment("gap", generation=2), [Metric("gap.steps", 1.0, tags={"level": "3"})]),
        (
            moment("measure", 4, generation=2),
            [
                Metric("capability.utility", 0.25, tags={"side": "+", "family": "strings"}),
                Metric("capability.utility", 0.75, tags={"side": "+", "family": "writing"}),
                Metric("capability.utility", 0.0, tags={"side": "-", "family": "writing"}),
                Metric("conformity", 0.875, tags={"side": "+"}),
            ],
        ),
        (moment("gate", 4, generation=2), [Metric("gate.accepted", 0.0)]),
    )
    assert text.count("generation 2") == 1
    for said in ("3", "0.50", "0.88", "rolled back"):
        assert said in text


def test_what_was_never_measured_has_no_column_and_the_final_test_no_row():
    assert shown((moment("learn"), [Metric("reward", 1.0)])) == ""
    metric = Metric("refusals.miss", 0.5, tags={"split": "gate"})
    assert shown((moment("test", place=8), [metric])) == ""
    assert "hazards" not in shown((moment("evaluate"), [metric]))


def test_a_log_hears_of_steps_only_after_a_silence_and_once_of_every_stage():
    lines, times = [], iter([0.0, 10.0, 12.0, 20.5, 21.0, 22.5])
    log = LogLines(lines.append, clock=lambda: next(times))
    log.begin(moment("learn", 2, place=4))
    for done in (1, 2, 3):
        log.step(done, 4, {"loss": 0.125})
    log.end([Metric("reward", 0.5)])
    log.skip(moment("gate", 3, generation=1, place=8), ())
    assert lines == [
        "[5/9] round 2 learn 2/4 loss 0.125",
        "[5/9] round 2 learn done in 12.5 s reward 0.50",
        "[9/9] generation 1 round 3 gate was done before",
    ]


def test_highlights_are_few_and_harmless():
    metrics = [Metric(f"m{i}", float(i)) for i in range(20)]
    assert highlights(metrics).count(",") == 5
    hostile = Metric("attack.harm", 1.0, opponent="\x1b[31m[bold]")
    assert "\x1b" not in highlights([hostile])
    assert line_of({"loss": 1.0, "other": 2.0}) == "loss 1.000"


def test_highlights_are_of_the_newest_whom_a_stage_measured():
    def right(who, value, **tags):
        return Metric("refusals.right", value, tags={"who": who, **tags})

    test = [right("before", 0.5), right("final", 0.9), right("always-comply", 0.1)]
    assert highlights(test) == "refusals.right 0.90"
    sides = [right("A2", 0.1), right("A2+", 0.8, family="strings"), right("A2-", 0.2)]
    assert highlights(sides) == "refusals.right (strings) 0.80"


def test_the_summary_fits_a_terminal():
    tags = {"who": "final", "split": "test"}
    summary = summarise([Metric("refusals.miss", 0.25, tags=tags)])
    console = screen()
    console.print(*summary_tables(summary))
    text = console.file.getvalue()
    assert "split test" in text
    assert "misses" in text and "0.25" in text
    assert "Split test: held out" in text
    narrow = Console(file=io.StringIO(), width=20)
    narrow.print(*summary_tables(summary, 20))
    assert "…" not in narrow.file.getvalue()


@pytest.mark.parametrize("generations", [2, 6, 12])
@pytest.mark.parametrize("width", [80, 132])
def test_tables_of_a_chain_fit_and_cut_no_number(generations, width):
    who = [f"A{number}{side}" for number in range(1, generations + 1) for side in "-+"]
    values = {name: 0.01 * place for place, name in enumerate(who)}
    kinds = ("benign", "scary-but-benign under long names that do not end")
    measured = [
        Metric(
            "over-refusal",
            value,
            tags={"who": w, "side": w[-1], "split": "test", "kind": k},
        )
        for k in kinds
        for w, value in values.items()
    ]
    standings = Standings()
    for number in range(1, generations + 1):
        gap = Metric("gap.steps", 1, tags={"level": "smollm2/360M-Instruct"})
        gate = Metric("gate.accepted", 0)
        more = [Metric(c.metric, 0.123, tags=dict(c.tags)) for c in COLUMNS[1:7]]
        standings.take(moment("gate", generation=number), [gap, *more, gate])
    console = Console(file=io.StringIO(), width=width)
    console.print(*summary_tables(summarise_chain(measured, []), width), sep="\n")
    console.print(*standings.tables(width), sep="\n")
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    for value in values.values():
        assert text.count(f"{value:.2f}") >= len(kinds)
    assert text.count("rolled back") == generations
    assert all(name in text for name in who)


ANY = [
    Metric("pay", value=value, tags={"seat": seat, "who": "before", "split": "gate"})
    for value, seat in ((3, "witness_0"), (np.float32(0.25), "attorney_0"))
] + [
    Metric("grade.truthful", 1, tags={"name": "[bold]perjury", "who": "before"}),
    Metric("requests.asked", 12, n=12, tags={"truth": "perjury", "who": "before"}),
]


def test_metrics_of_any_name_and_kind_of_number_are_rows_lines_and_tables(tmp_path):
    text = shown((moment("evaluate", round=0), ANY))
    for said in ("witness_0", "3.00", "attorney_0", "0.25", "perjury"):
        assert said in text
    assert "witness_0" in highlights(ANY) or "pay" in highlights(ANY)
    assert "3" in highlights(ANY)
    assert line_of({"loss": 1, "reward": np.float32(0.5)}) == "loss 1.000 reward 0.500"
    assert "0 were graded as harmful" in _sentence_of_sides(ANY[-1])


def _sentence_of_sides(asked):
    tags = {**asked.tags, "who": "final", "split": "test"}
    return summarise([msgspec.structs.replace(asked, tags=tags)]).sentence


def test_a_report_and_the_terminal_show_metrics_of_any_name(tmp_path, capsys):
    with Run.create(tmp_path / "run", kind="train", config={}, seed=0) as run:
        stage = run.stages.begin("evaluate")
        run.metrics.write([*ANY, Metric("perjury/rate", -4.4e-17, -0.0, 1)], stage=stage.id)
        run.stages.finish(stage.id)
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    show(tmp_path / "run", None)
    terminal = capsys.readouterr().out
    for said in ("witness_0", "attorney_0", "perjury/rate"):
        assert said in page and said in terminal
    assert "e-17" not in page + terminal


declare("toy.first", "First of a toy")


def test_a_stage_line_says_whose_numbers_these_are_and_counts_whole_things():
    line = highlights(
        [
            Metric("pay", 0.5, 0.1, 0.9, 30, tags={"seat": "seller_0"}),
            Metric("pay", -0.25, -0.5, 0.1, 30, tags={"seat": "buyer_0"}),
            Metric("people.answers", 0.0),
            Metric("toy.first", 0.125, n=3, tags={"role": "seller"}),
        ]
    )
    assert "(seller_0) 0.50" in line and "(buyer_0) -0.25" in line
    assert "people.answers 0," in line, "undeclared: its name"
    assert "first of a toy (seller) 0.12" in line
