"""The experiment's arithmetic; its runs are the slow part and belong to nobody's tests."""

import pytest
from scipy import stats
from typer.testing import CliRunner

from superalign_env.cli import build
from superalign_training.experiments.first_self_play import Outcome, together


def outcome(seed, before, final, *, known=0.0, fresh=0.5):
    return Outcome(
        seed,
        {"both sides right": before},
        {"both sides right": final, "fresh attack": fresh, "co-trained attack": known},
    )


OUTCOMES = [outcome(1, 0.5, 0.9, fresh=0.3), outcome(2, 0.4, 0.9), outcome(3, 0.5, 0.8)]


def test_seeds_are_the_unit_and_differences_are_paired():
    result = together(OUTCOMES)
    gains = [0.4, 0.5, 0.3]
    low, high = stats.t.interval(0.95, 2, sum(gains) / 3, stats.sem(gains))
    assert result.improvement[:3] == pytest.approx((0.4, low, high))
    assert result.final.value == pytest.approx(2.6 / 3)
    assert result.false_robustness.value == pytest.approx(1.3 / 3)


def test_the_last_line_has_the_names_that_were_promised():
    plain = together(OUTCOMES).plain()
    assert plain["seeds"] == 3
    for name in (
        "learner_improvement",
        "learner_improvement_low",
        "learner_improvement_high",
    ):
        assert isinstance(plain[name], float)


def test_the_command_lists_what_can_be_run():
    listed = CliRunner().invoke(build(), ["experiment"])
    assert listed.exit_code == 0
    assert "first-self-play" in listed.output
