"""What policies learn from: rows of episodes, lessons, live and stored play."""

from superalign_training.experience.lessons import Example, Opinion, Preference
from superalign_training.experience.live import Experience, Live, PlayCases
from superalign_training.experience.rows import Row, learnable, training_rows
from superalign_training.experience.stored import Stored

__all__ = [
    "Example",
    "Experience",
    "Live",
    "Opinion",
    "PlayCases",
    "Preference",
    "Row",
    "Stored",
    "learnable",
    "training_rows",
]
