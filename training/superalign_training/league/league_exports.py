"""What the package exports; imported when something of it is asked for."""

from superalign_training.league.cells import Fixture, Seated, Sides, Won, cells
from superalign_training.league.exams import PLANTED, RIGHT, examined
from superalign_training.league.matrix import JUDGED, TRUE, Matrix, matrix_of, missing
from superalign_training.league.members import (
    Member,
    Shelf,
    Squad,
    enlist,
    load,
    members,
)
from superalign_training.league.opponents import Opponents, opponents
from superalign_training.league.ratings import Contest, Rating, rate
from superalign_training.league.sampling import RULES, Beaten, shares
from superalign_training.league.settings import LeagueSettings
from superalign_training.league.standings import RATING, rated

__all__ = [
    "JUDGED",
    "PLANTED",
    "RATING",
    "RIGHT",
    "RULES",
    "TRUE",
    "Beaten",
    "Contest",
    "Fixture",
    "LeagueSettings",
    "Matrix",
    "Member",
    "Opponents",
    "Rating",
    "Seated",
    "Shelf",
    "Sides",
    "Squad",
    "Won",
    "cells",
    "enlist",
    "examined",
    "load",
    "matrix_of",
    "members",
    "missing",
    "opponents",
    "rate",
    "rated",
    "shares",
]
