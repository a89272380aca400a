"""The experiment's arithmetic; its runs are the slow part and belong to nobody's tests."""

import pytest
from scipy import stats

from superalign_training.experiments.engine.results import flat
from superalign_training.experiments.first_self_play import EXPERIMENT, reduce
from superalign_training.selfplay.settings import read_settings


def values(before, final, *, known=0.0, fresh=0.5):
    return {
        "before": {"both sides right": before},
        "final": {
            "both sides right": final,
            "fresh attack": fresh,
            "co-trained attack": known,
        },
    }


CELLS = {1: values(0.5, 0.9, fresh=0.3), 2: values(0.4, 0.9), 3: values(0.5, 0.8)}


def test_seeds_are_the_unit_and_differences_are_paired():
    figures = reduce({"self-play": CELLS}).figures
    gains = [0.4, 0.5, 0.3]
    low, high = stats.t.interval(0.95, 2, sum(gains) / 3, stats.sem(gains))
    assert figures["learner_improvement"][:3] == pytest.approx((0.4, low, high))
    assert figures["final_both_sides_right"].value == pytest.approx(2.6 / 3)
    assert figures["fresh_minus_cotrained_attack"].value == pytest.approx(1.3 / 3)


def test_the_last_line_has_the_names_that_were_promised():
    plain = flat(reduce({"self-play": CELLS}).figures, digits=4)
    for name in (
        "learner_improvement",
        "final_both_sides_right",
        "fresh_attack",
        "fresh_minus_cotrained_attack",
    ):
        for part in (name, f"{name}_low", f"{name}_high"):
            assert isinstance(plain[part], float)


def test_the_setting_and_the_seeds_are_frozen():
    """Whatever changes the hash of the first cell takes the claim away: frozen with these names."""
    assert EXPERIMENT.seeds.claim == (130, 131, 132, 133, 134)
    (setting,) = EXPERIMENT.conditions.values()
    assert EXPERIMENT.cell_hash(setting, 130) == "dcbd0e82d14dc7eee891f137d51c2c32"


def test_what_is_run_makes_sense():
    assert EXPERIMENT.conditions and EXPERIMENT.quickly()
    for params in (*EXPERIMENT.conditions.values(), *EXPERIMENT.quickly().values()):
        assert read_settings({k: v for k, v in params.items() if k != "rung"})
