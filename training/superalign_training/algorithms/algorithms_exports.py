"""Exports of the package, imported on first use."""

from superalign_training.algorithms.advantages import (
    by_turn,
    gae,
    gae_of_rows,
    group_relative,
    leave_one_out,
)
from superalign_training.algorithms.algorithm import Algorithm, Kind, LearnsFrom, OnStep
from superalign_training.algorithms.cases import CaseSampler, episode_returns, is_zero_std
from superalign_training.algorithms.logprobs import (
    LogprobsAndValues,
    RowBatch,
    TokenLogprobs,
    batch_of,
    logprobs_and_values,
    token_logprobs,
)
from superalign_training.algorithms.losses import (
    clipped_surrogate,
    clipped_value_loss,
    k3,
)
from superalign_training.algorithms.micro_batch import MicroBatch
from superalign_training.algorithms.policy_gradient import History, PolicyOptimizer
from superalign_training.data import (
    Example,
    Experience,
    Preference,
    Row,
    UnpairedPreference,
)
from superalign_training.policy import Policy
from superalign_training.sections import Section

__all__ = [
    "Algorithm",
    "CaseSampler",
    "Example",
    "Experience",
    "History",
    "Kind",
    "LearnsFrom",
    "LogprobsAndValues",
    "MicroBatch",
    "OnStep",
    "Policy",
    "PolicyOptimizer",
    "Preference",
    "Row",
    "RowBatch",
    "Section",
    "TokenLogprobs",
    "UnpairedPreference",
    "batch_of",
    "by_turn",
    "clipped_surrogate",
    "clipped_value_loss",
    "episode_returns",
    "gae",
    "gae_of_rows",
    "group_relative",
    "is_zero_std",
    "k3",
    "leave_one_out",
    "logprobs_and_values",
    "token_logprobs",
]
