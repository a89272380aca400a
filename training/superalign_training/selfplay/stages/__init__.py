"""Stages: functions from what they find to what they leave, one file each."""
