"""Exports of the package, imported on first use."""

from superalign_training.algorithms.algorithm import Algorithm, Kind, LearnsFrom, OnStep
from superalign_training.algorithms.updates.advantages import (
    gae,
    group_relative,
    leave_one_out,
)
from superalign_training.algorithms.updates.batches import Batch, batch_of
from superalign_training.algorithms.updates.cases import Cases, is_zero_std, totals
from superalign_training.algorithms.updates.credit import by_turn, gae_of_rows
from superalign_training.algorithms.updates.likelihood import (
    Evaluation,
    Likelihood,
    evaluate,
    likelihood,
)
from superalign_training.algorithms.updates.losses import (
    clipped_surrogate,
    clipped_value_loss,
    k3,
)
from superalign_training.algorithms.updates.memory import MicroBatch
from superalign_training.algorithms.updates.policy_optimizer import History, PolicyOptimizer
from superalign_training.data import Example, Experience, Opinion, Preference, Row
from superalign_training.policy import Policy
from superalign_training.sections import Section

__all__ = [
    "Algorithm",
    "Batch",
    "Cases",
    "Evaluation",
    "Example",
    "Experience",
    "History",
    "Kind",
    "LearnsFrom",
    "Likelihood",
    "MicroBatch",
    "OnStep",
    "Opinion",
    "Policy",
    "PolicyOptimizer",
    "Preference",
    "Row",
    "Section",
    "batch_of",
    "by_turn",
    "clipped_surrogate",
    "clipped_value_loss",
    "evaluate",
    "gae",
    "gae_of_rows",
    "group_relative",
    "is_zero_std",
    "k3",
    "leave_one_out",
    "likelihood",
    "totals",
]
