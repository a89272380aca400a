"""Oversight: labels of many sources, hazards, critics, alarms, and the gate.

Pure functions of what critics, sources and people say. Only alarms that declare it read the
truth, and they can do no more than warn.
"""
