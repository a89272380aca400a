"""Training data: rows of episodes, examples, preferences, live and stored rollouts."""

from superalign_training.data.examples import Example, Preference, UnpairedPreference
from superalign_training.data.experience import (
    Experience,
    Live,
    PaidExperience,
    PlayCases,
    Stored,
    paid_episodes,
)
from superalign_training.data.rows import Row, learnable, left_out, training_rows

__all__ = [
    "Example",
    "Experience",
    "Live",
    "PaidExperience",
    "PlayCases",
    "Preference",
    "Row",
    "Stored",
    "UnpairedPreference",
    "learnable",
    "left_out",
    "paid_episodes",
    "training_rows",
]
