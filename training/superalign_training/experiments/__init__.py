"""Experiments over seeds: one file each, with frozen settings and a claim."""

from superalign_training.experiments.engine.experiment import (
    CellContext,
    Experiment,
    ExperimentResult,
    Outcomes,
    Params,
    ResultTable,
    Seeds,
    Steps,
    Values,
    column,
    means,
)
from superalign_training.experiments.engine.results import bands, forest
from superalign_training.experiments.engine.running import run_experiment

__all__ = [
    "CellContext",
    "Experiment",
    "ExperimentResult",
    "Outcomes",
    "Params",
    "ResultTable",
    "Seeds",
    "Steps",
    "Values",
    "bands",
    "column",
    "forest",
    "means",
    "run_experiment",
]
