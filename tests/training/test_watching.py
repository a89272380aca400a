"""Runs are watched by people at terminals, and by logs."""

import io

from rich.console import Console

from superalign_env.types import Metric
from superalign_training.evaluation.summary import summarise
from superalign_training.watching import (
    LiveTable,
    LogLines,
    highlights,
    line_of,
    summary_tables,
)


def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_a_terminal_shows_the_stage_that_runs_and_keeps_those_that_are_done():
    console = screen()
    with LiveTable(console) as live:
        live.skip("judge", round=0, place=0, of=3)
        live.begin("learn", round=1, place=1, of=3)
        live.step(3, 7, {"reward": 0.25, "grad_norm": 9.0})
        live._progress.refresh()
        live.end([Metric("learner.reward", 0.5)])
    text = console.file.getvalue()
    assert "round 0 judge      was done before" in text
    assert "[2/3] round 1 learn" in text
    assert "3/7 reward 0.250" in text
    assert "grad_norm" not in text
    assert "round 1 learn      learner.reward 0.50" in text


def test_a_log_says_how_long_a_stage_took():
    lines, times = [], iter([0.0, 10.0, 12.5])
    log = LogLines(lines.append, clock=lambda: next(times))
    log.begin("learn", round=2, place=4, of=9)
    log.step(1, 2, {"loss": 0.125})
    log.end([Metric("learner.reward", 0.5)])
    assert lines == [
        "[5/9] round 2 learn 1/2 loss 0.125",
        "[5/9] round 2 learn done in 2.5 s learner.reward 0.50",
    ]


def test_highlights_are_few_and_harmless():
    metrics = [Metric(f"m{i}", float(i)) for i in range(20)]
    assert highlights(metrics).count(",") == 5
    hostile = Metric("attack.harm", 1.0, opponent="\x1b[31m[bold]")
    assert "\x1b" not in highlights([hostile])
    assert line_of({"loss": 1.0, "other": 2.0}) == "loss 1.000"


def test_the_summary_fits_a_terminal():
    tags = {"who": "final", "split": "test"}
    summary = summarise([Metric("learner.miss", 0.25, tags=tags)])
    console = screen()
    console.print(*summary_tables(summary))
    text = console.file.getvalue()
    assert "unseen requests" in text
    assert "misses" in text and "0.25" in text
