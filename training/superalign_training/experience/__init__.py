"""What policies learn from: rows of episodes, lessons, live and stored play."""

from superalign_training.experience.lessons import Example, Opinion, Preference
from superalign_training.experience.live import Experience, Live, PlayCases
from superalign_training.experience.paid import Played, paid_episodes
from superalign_training.experience.rows import Row, learnable, training_rows
from superalign_training.experience.stored import Stored

__all__ = [
    "Example",
    "Experience",
    "Live",
    "Opinion",
    "PlayCases",
    "Played",
    "Preference",
    "Row",
    "Stored",
    "learnable",
    "paid_episodes",
    "training_rows",
]
