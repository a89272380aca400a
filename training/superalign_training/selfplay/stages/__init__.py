"""Stages of a run: functions from `StageContext` to `StageResult`, one file each."""
