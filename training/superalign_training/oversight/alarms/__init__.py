"""Alarms: early warnings of training failures.

Pure functions of gold-free statistics; one that reads the truth says so, and only warns.
"""

from superalign_training.oversight.alarms.alarm import (
    PROBES,
    Action,
    Alarm,
    AlarmRules,
    AlarmSettings,
    Answers,
    Labelled,
    Raised,
    Statistics,
    Trigger,
    check_alarms,
    default_alarms,
    make_alarm,
    missing_statistics,
    raised,
)

__all__ = [
    "PROBES",
    "Action",
    "Alarm",
    "AlarmRules",
    "AlarmSettings",
    "Answers",
    "Labelled",
    "Raised",
    "Statistics",
    "Trigger",
    "check_alarms",
    "default_alarms",
    "make_alarm",
    "missing_statistics",
    "raised",
]
