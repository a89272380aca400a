"""Risks: what a generation does wrong, what is done about it, and whether it is accepted.

``finding`` reads deployments, ``comparing`` and ``deciding`` are the gate; all of it is
pure, and reads what critics and people say. The truth is not asked.
"""

from superalign_training.risks.comparing import Opinions, Sat, disputed, kept
from superalign_training.risks.deciding import Decision, Evidence, Finding, decide
from superalign_training.risks.finding import (
    PLAIN,
    Deployed,
    asked_of,
    deployed,
    hazards_in,
    is_refusal,
    novel,
    task_of,
)
from superalign_training.risks.settings import Conform, Discover, Gate

__all__ = [
    "PLAIN",
    "Conform",
    "Decision",
    "Deployed",
    "Discover",
    "Evidence",
    "Finding",
    "Gate",
    "Opinions",
    "Sat",
    "asked_of",
    "decide",
    "deployed",
    "disputed",
    "hazards_in",
    "is_refusal",
    "kept",
    "novel",
    "task_of",
]
