"""Every mean and interval of the laboratory is computed here, and nowhere else."""

from superalign_env.measures.aggregation import (
    Combined,
    majority,
    recency_weighted,
    weighted,
)
from superalign_env.measures.calibration import (
    Bin,
    brier,
    calibration_error,
    reliability,
)
from superalign_env.measures.correlation import rank_correlation
from superalign_env.measures.dawid_skene import DawidSkene, dawid_skene, overlapping
from superalign_env.measures.diversity import distinct_n, distinct_share
from superalign_env.measures.holm import holm_adjusted
from superalign_env.measures.intervals import (
    Estimate,
    census,
    difference,
    mean,
    normal,
    share,
    two_sided,
)
from superalign_env.measures.paired import Paired, paired_difference
from superalign_env.measures.ratios import Ratio, ratio
from superalign_env.measures.robust import interquartile_mean, stratified

__all__ = [
    "Bin",
    "Combined",
    "DawidSkene",
    "Estimate",
    "Paired",
    "Ratio",
    "brier",
    "calibration_error",
    "census",
    "dawid_skene",
    "difference",
    "distinct_n",
    "distinct_share",
    "holm_adjusted",
    "interquartile_mean",
    "majority",
    "mean",
    "normal",
    "overlapping",
    "paired_difference",
    "rank_correlation",
    "ratio",
    "recency_weighted",
    "reliability",
    "share",
    "stratified",
    "two_sided",
    "weighted",
]
