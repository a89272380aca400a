"""`red-team`: attacker → learner → critics, with refining turns (Huang et al. 2024, 3.4).

``rules.py`` is the game, ``state.py`` what it remembers, ``pay.py`` who earns what.
"""

from superalign_scenarios.red_team.rules import RedTeam

__all__ = ["RedTeam"]
