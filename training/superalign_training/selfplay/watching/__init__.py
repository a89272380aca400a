"""How a run is watched, and how it stands."""

from superalign_training.selfplay.watching.live import (
    LiveTable,
    LogLines,
    Silent,
    summary_tables,
)

__all__ = ["LiveTable", "LogLines", "Silent", "summary_tables"]
