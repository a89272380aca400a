"""Checks for those who write algorithms and alarms.

::

    from superalign_training.testing import check_alarm, check_algorithm

    check_algorithm(MyAlgorithm(steps=2, cases=4))
    check_alarm(MyAlarm(threshold=0.2))

They return nothing when all is well, and else raise a `ProtocolError` (or its special case
`NotReproducible`) that says what is wrong and what to do.
"""

from superalign_training.testing.alarms import check_alarm
from superalign_training.testing.algorithms import check_algorithm

__all__ = ["check_alarm", "check_algorithm"]
