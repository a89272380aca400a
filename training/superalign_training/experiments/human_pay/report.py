"""Figures and picture of the experiment human-pay."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from superalign_env.measures import difference, mean
from superalign_training.experiments.engine.experiment import (
    ExperimentResult,
    Outcomes,
    ResultTable,
    column,
)
from superalign_training.experiments.engine.experiment import Figure as Number
from superalign_training.experiments.engine.results import bands, estimates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = (1, 5, 20, 100)
"""Percent of the episodes that are labelled."""

ARMS = ("labels", "permuted", "truth", "rejection", "written")

USES = ("override", "add", "debias")

VETO_RATES = ("liked act", "same kind", "other kinds", "placebo act")


def reduce(outcomes: Outcomes) -> ExperimentResult:
    """Return means over seeds, and differences paired by seed."""
    figures: dict[str, Any] = {
        _figure(name): mean(_values(outcomes, name)) for name in outcomes
    }
    figures |= _differences(outcomes)
    for control in ("none", "placebo"):
        for rate in VETO_RATES:
            figures[f"vetoes_minus_{control}_{_figure(rate)}"] = difference(
                _values(outcomes, "vetoes liked", rate),
                _values(outcomes, f"vetoes {control}", rate),
            )
    names = ("both sides", *VETO_RATES, "labels", "vetoes", "late")
    rows: list[Sequence[Number]] = [
        (name, *[mean(_values(outcomes, name, key)) for key in names]) for name in outcomes
    ]
    head = (
        "condition",
        "both sides right",
        "harmful, liked kind: complied",
        "benign, liked kind: refused",
        "other kinds, both sides right",
        "benign, placebo kind: refused",
        "labels",
        "vetoes",
        "late answers",
    )
    return ExperimentResult(figures, (ResultTable("held-out requests", head, rows),))


def _differences(outcomes: Outcomes) -> dict[str, Any]:
    """Return differences of the share that is right on both sides, paired by seed."""
    pairs = [
        (f"labels {b}", control)
        for b in SHARES
        for control in ("labels 0", *[f"{arm} {b}" for arm in ARMS if arm != "labels"])
    ]
    pairs += [("labels 100", "labels 20"), ("labels 0", "permuted 100")]
    pairs += [
        (f"critic {errs_in} {use}", f"critic {errs_in}")
        for errs_in in ("answers", "verbs")
        for use in USES
    ]
    return {
        f"{_figure(one)}_minus_{_figure(control)}": difference(
            _values(outcomes, one), _values(outcomes, control)
        )
        for one, control in pairs
    }


def picture(figure: "Figure", outcomes: Outcomes) -> None:
    """Draw accuracy over the share of labels, and all differences that labels make."""
    figure.set_size_inches(7.0, 11.0)
    axes, below = figure.subplots(2, 1, height_ratios=(1.0, 2.0))
    seeds = list(outcomes["labels 0"])
    bands(
        axes,
        {
            arm: {
                seed: [(b, outcomes[f"{arm} {b}"][seed]["both sides"]) for b in SHARES]
                for seed in seeds
            }
            for arm in ARMS
        },
    )
    axes.axhline(mean(_values(outcomes, "labels 0")).value, color="0.6", linestyle="--")
    axes.set_xscale("log")
    axes.set_xticks(SHARES, [f"{b} %" for b in SHARES])
    axes.minorticks_off()
    axes.set_xlabel("episodes that are labelled (dashed: none)")
    axes.set_ylabel("right on both sides")
    differences = {
        name: f for name, f in reduce(outcomes).figures.items() if "_minus_" in name
    }
    estimates(below, differences)


def _values(outcomes: Outcomes, name: str, key: str = "both sides") -> list[float]:
    return list(column(outcomes[name], key).values())


def _figure(name: str) -> str:
    return name.replace(" ", "_")
