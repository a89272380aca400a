"""All statistics: means, intervals, agreement, calibration, capability, ratings."""

from superalign_env.measures.aggregation import (
    Combined,
    majority,
    recency_weighted,
    weighted,
)
from superalign_env.measures.agreement import (
    capa,
    capa_matrix,
    disagreement,
    error_correlation,
    mean_disagreement,
    one_hot,
)
from superalign_env.measures.calibration import (
    Bin,
    brier,
    calibration_error,
    reliability,
)
from superalign_env.measures.comparisons import (
    Paired,
    Ratio,
    holm_adjusted,
    paired_difference,
    rank_correlation,
    ratio,
)
from superalign_env.measures.diversity import (
    answer_entropy,
    distinct_n,
    distinct_share,
    entropy,
    vendi,
    vendi_score,
)
from superalign_env.measures.elicitation import (
    GUARD,
    ImitationRate,
    elicitation_gap,
    generation_gap,
    imitation,
    performance_gap_recovered,
    recovered,
    saliency,
)
from superalign_env.measures.elo import Elo, Games, fit_elo, win_probability
from superalign_env.measures.intervals import (
    Estimate,
    census,
    difference,
    mean,
    normal,
    share,
    two_sided,
)
from superalign_env.measures.latent_truth import DawidSkene, dawid_skene, overlapping
from superalign_env.measures.robust import interquartile_mean, stratified

__all__ = [
    "GUARD",
    "Bin",
    "Combined",
    "DawidSkene",
    "Elo",
    "Estimate",
    "Games",
    "ImitationRate",
    "Paired",
    "Ratio",
    "answer_entropy",
    "brier",
    "calibration_error",
    "capa",
    "capa_matrix",
    "census",
    "dawid_skene",
    "difference",
    "disagreement",
    "distinct_n",
    "distinct_share",
    "elicitation_gap",
    "entropy",
    "error_correlation",
    "fit_elo",
    "generation_gap",
    "holm_adjusted",
    "imitation",
    "interquartile_mean",
    "majority",
    "mean",
    "mean_disagreement",
    "normal",
    "one_hot",
    "overlapping",
    "paired_difference",
    "performance_gap_recovered",
    "rank_correlation",
    "ratio",
    "recency_weighted",
    "recovered",
    "reliability",
    "saliency",
    "share",
    "stratified",
    "two_sided",
    "vendi",
    "vendi_score",
    "weighted",
    "win_probability",
]
