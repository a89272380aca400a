"""Progress display of a run, and tables of its results."""

from superalign_training.selfplay.watching.live import (
    LiveTable,
    LogLines,
    Silent,
    summary_tables,
)

__all__ = ["LiveTable", "LogLines", "Silent", "summary_tables"]
