"""`weak-to-strong`: supervisors label a task, critics may judge the label, a student answers.

``rules.py`` is the game, ``noise.py`` what happens to labels on their way,
``pay.py`` who earns what.
"""

from superalign_scenarios.weak_to_strong.noise import Noise, NoiseSpec, make_noise
from superalign_scenarios.weak_to_strong.rules import WeakToStrong, majority

__all__ = [
    "Noise",
    "NoiseSpec",
    "WeakToStrong",
    "majority",
    "make_noise",
]
