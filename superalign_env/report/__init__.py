"""One self-contained page about a run, from its record alone.

Needs ``superalign-env[figures]``.
"""

from superalign_env.report.writing import COMPARISON, REPORT, write_report

__all__ = ["COMPARISON", "REPORT", "write_report"]
