"""What counts seeds: each experiment is one file with its frozen setting and its claim."""

from superalign_training.experiments.engine.bench import Bench, Steps, begun
from superalign_training.experiments.engine.experiment import Experiment, Params, Seeds
from superalign_training.experiments.engine.pictures import bands, forest
from superalign_training.experiments.engine.results import (
    Outcomes,
    Result,
    Table,
    Values,
    column,
    means,
)
from superalign_training.experiments.engine.running import run_experiment

__all__ = [
    "Bench",
    "Experiment",
    "Outcomes",
    "Params",
    "Result",
    "Seeds",
    "Steps",
    "Table",
    "Values",
    "bands",
    "begun",
    "column",
    "forest",
    "means",
    "run_experiment",
]
