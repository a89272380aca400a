"""What the gate sees of a generation: labels, critics, archived attackers. Never the truth."""

from superalign_training.selfplay.weighing.competence import Competence, weigh_competence
from superalign_training.selfplay.weighing.deployment import (
    Deployment,
    archived,
    opponent_metrics,
    weigh_deployment,
)
from superalign_training.selfplay.weighing.questions import await_people
from superalign_training.selfplay.weighing.requests import Requests, weigh_requests

__all__ = [
    "Competence",
    "Deployment",
    "Requests",
    "archived",
    "await_people",
    "opponent_metrics",
    "weigh_competence",
    "weigh_deployment",
    "weigh_requests",
]
