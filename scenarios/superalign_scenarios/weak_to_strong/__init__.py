"""`weak-to-strong`: supervisors label a task, critics may judge the label, a student answers.

``rules.py`` is the game, ``noise.py`` what happens to labels on their way, ``labels.py``
when two answers agree, ``pay.py`` who earns what.
"""

from superalign_scenarios.weak_to_strong.labels import Label, key_of, labels_of, majority
from superalign_scenarios.weak_to_strong.noise import Noise, NoiseSpec, make_noise
from superalign_scenarios.weak_to_strong.rules import WeakToStrong

__all__ = [
    "Label",
    "Noise",
    "NoiseSpec",
    "WeakToStrong",
    "key_of",
    "labels_of",
    "majority",
    "make_noise",
]
