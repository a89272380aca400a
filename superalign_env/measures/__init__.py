"""Every mean and interval of the laboratory is computed here, and nowhere else."""

from superalign_env.measures.intervals import (
    Estimate,
    difference,
    mean,
    share,
    two_sided,
)

__all__ = ["Estimate", "difference", "mean", "share", "two_sided"]
