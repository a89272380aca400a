"""Hardening: a learner is taught what taught critics approve of, and attacked until it holds.

Gold is met in one place only: planted answers, which the environment gives to critics. All
else is critics' verdicts on requests of the training split.
"""

from superalign_training.algorithms.fit_settings import FitSettings
from superalign_training.algorithms.updates.fitting import Rows, fit
from superalign_training.hardening.council import Council, Judged
from superalign_training.hardening.hardened import Hardened, harden
from superalign_training.hardening.ring import Ring
from superalign_training.hardening.school import planted_examples
from superalign_training.hardening.settings import Hardening

__all__ = [
    "Council",
    "FitSettings",
    "Hardened",
    "Hardening",
    "Judged",
    "Ring",
    "Rows",
    "fit",
    "harden",
    "planted_examples",
]
