"""Checks for those who write algorithms and evaluations.

::

    from superalign_training.testing import check_algorithm, check_evaluation

    check_algorithm(MyAlgorithm(steps=2, cases=4))
    check_evaluation(MyEvaluation(cases=4))

They return nothing when all is well, and else raise a `ProtocolError` (or its special case
`NotReproducible`) that says what is wrong and what to do.
"""

from superalign_training.testing.algorithms import check_algorithm
from superalign_training.testing.evaluations import check_evaluation

__all__ = ["check_algorithm", "check_evaluation"]
