"""Every mean and interval of the laboratory is computed here, and nowhere else."""

from superalign_env.measures.calibration import brier, calibration_error
from superalign_env.measures.diversity import distinct_n, distinct_share
from superalign_env.measures.intervals import (
    Estimate,
    difference,
    mean,
    share,
    two_sided,
)

__all__ = [
    "Estimate",
    "brier",
    "calibration_error",
    "difference",
    "distinct_n",
    "distinct_share",
    "mean",
    "share",
    "two_sided",
]
