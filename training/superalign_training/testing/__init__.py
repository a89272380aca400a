"""Contract checks for custom algorithms, alarms, evaluations and learners.

::

    from superalign_training.testing import check_alarm, check_algorithm, check_learner

    check_algorithm(MyAlgorithm(steps=2, batch_size=4))
    check_alarm(MyAlarm(threshold=0.2))
    check_evaluation(MyEvaluation(cases=4))
    check_learner(MyLearner)

They return nothing when all is well, and else raise a `ProtocolError` (or its special case
`NotReproducible`) that says what is wrong and what to do.
"""

from superalign_training.testing.alarms import check_alarm
from superalign_training.testing.algorithms import check_algorithm
from superalign_training.testing.evaluations import check_evaluation
from superalign_training.testing.learners import check_learner

__all__ = ["check_alarm", "check_algorithm", "check_evaluation", "check_learner"]
