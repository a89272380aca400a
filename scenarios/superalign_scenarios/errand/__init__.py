"""`errand`: four turns of one seat, paid at the end; the best play of every case is known.

Two stops where one thing may be taken, then two gates that only the right things open.
What is worth something at once is not what the errand is worth at its end.
"""

from superalign_scenarios.errand.road import best_worth, myopic_word, optimum
from superalign_scenarios.errand.rules import Errand
from superalign_scenarios.errand.source import Errands

__all__ = ["Errand", "Errands", "best_worth", "myopic_word", "optimum"]
