"""What counts seeds: each experiment is one file with its frozen setting and its claim."""

from superalign_training.experiments.bench import Bench, begun
from superalign_training.experiments.experiment import Experiment, Params, Seeds
from superalign_training.experiments.results import (
    Outcomes,
    Result,
    Table,
    Values,
    column,
    means,
)

__all__ = [
    "Bench",
    "Experiment",
    "Outcomes",
    "Params",
    "Result",
    "Seeds",
    "Table",
    "Values",
    "begun",
    "column",
    "means",
]
