"""What policies learn from: rows of episodes, lessons, live and stored play."""

from superalign_training.experience.lessons import Example, Opinion, Preference
from superalign_training.experience.live import Live, PlayCases
from superalign_training.experience.rows import Row, training_rows

__all__ = [
    "Example",
    "Live",
    "Opinion",
    "PlayCases",
    "Preference",
    "Row",
    "training_rows",
]
