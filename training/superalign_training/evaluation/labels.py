"""How often labels are right: for people to read, never to steer by."""

from collections.abc import Iterable

from superalign_env.measures import Estimate, share
from superalign_env.protocols import TaskSource
from superalign_env.types import Task

_RIGHT = 1.0 - 1e-9


def label_accuracy(source: TaskSource, labels: Iterable[tuple[Task, str]]) -> Estimate:
    """Return which share of labels the truth calls right in every respect.

    Args:
        source: knows the truth.
        labels: (task, answer).
    """
    right = [
        all(grade.value >= _RIGHT for grade in source.grade(task, answer))
        for task, answer in labels
    ]
    return share(sum(right), len(right))
