"""What hardening is made of: planted examples for critics, and scores that critics expect.

Gold is met in one place only: planted answers, which the environment gives to critics. All
else is a critic's verdicts on requests of the training split.
"""

from superalign_training.hardening.planted import planted_examples
from superalign_training.hardening.scoring import ScoredQuery, outcomes_of, score_queries
from superalign_training.hardening.settings import Hardening

__all__ = [
    "Hardening",
    "ScoredQuery",
    "outcomes_of",
    "planted_examples",
    "score_queries",
]
