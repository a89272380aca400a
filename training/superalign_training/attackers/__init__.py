"""Attackers that learn: a search, a policy over slots, a causal LM; and their measurement.

All three are driven by `attack`: they get views of a target, send queries, learn which were
valid and which succeeded, and are measured at several budgets.
"""

from superalign_training.attackers.policy_attacker import PolicyAttacker, Trie
from superalign_training.attackers.red_teaming import (
    BUDGETS,
    MEASURED,
    WAVE,
    AgentAttacker,
    AnswerTable,
    Attacker,
    Curve,
    PlayedTarget,
    Point,
    QueryOutcome,
    SearchAttacker,
    Target,
    attack,
    opening_views,
    strongest,
)
from superalign_training.attackers.slot_policy import Grammar, SlotPolicy

__all__ = [
    "BUDGETS",
    "MEASURED",
    "WAVE",
    "AgentAttacker",
    "AnswerTable",
    "Attacker",
    "Curve",
    "Grammar",
    "PlayedTarget",
    "Point",
    "PolicyAttacker",
    "QueryOutcome",
    "SearchAttacker",
    "SlotPolicy",
    "Target",
    "Trie",
    "attack",
    "opening_views",
    "strongest",
]
