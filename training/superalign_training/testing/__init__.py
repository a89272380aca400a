"""Checks for those who write algorithms.

::

    from superalign_training.testing import check_algorithm

    check_algorithm(MyAlgorithm(steps=2, cases=4))

It returns nothing when all is well, and else raises a `ProtocolError` (or its special case
`NotReproducible`) that says what is wrong and what to do.
"""

from superalign_training.testing.algorithms import check_algorithm

__all__ = ["check_algorithm"]
