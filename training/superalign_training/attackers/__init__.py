"""Attackers that learn: a search, a policy over slots, a causal LM; and how to measure them.

All three are driven by `attack`: they are shown views of a field, say queries, are told
which were valid and which succeeded, and are measured at several budgets.
"""

from superalign_training.attackers.curve import (
    BUDGETS,
    MEASURED,
    WAVE,
    Attacker,
    Curve,
    Point,
    attack,
    strongest,
)
from superalign_training.attackers.field import Field, Outcome, Table, openings
from superalign_training.attackers.searcher import Searcher
from superalign_training.attackers.slot_policy import Grammar, SlotPolicy
from superalign_training.attackers.speaker import Speaker
from superalign_training.attackers.trie import Trie

__all__ = [
    "BUDGETS",
    "MEASURED",
    "WAVE",
    "Attacker",
    "Curve",
    "Field",
    "Grammar",
    "Outcome",
    "Point",
    "Searcher",
    "SlotPolicy",
    "Speaker",
    "Table",
    "Trie",
    "attack",
    "openings",
    "strongest",
]
