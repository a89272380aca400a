"""Alarms: what goes wrong in training before anything else shows it.

Pure functions of what signals and behaviour show; the truth is not asked.
"""

from superalign_training.alarms.alarm import Alarm, Labelled, Seen, Speech
from superalign_training.alarms.settings import Action, Alarms, Watch
from superalign_training.alarms.watch import CHECKS, Raised, raised

__all__ = [
    "CHECKS",
    "Action",
    "Alarm",
    "Alarms",
    "Labelled",
    "Raised",
    "Seen",
    "Speech",
    "Watch",
    "raised",
]
