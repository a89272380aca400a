"""The embedded world: short texts with exact truth, learnable by tiny transformers.

Families for competence (arithmetic, strings, writing) and for conformity (requests under
a hidden value system); unlabelled pre-training text; held-out compositions by hash.
"""

from superalign_scenarios.microworld.words import SPECIAL_TOKENS, VOCABULARY, WORLD_VERSION

__all__ = ["SPECIAL_TOKENS", "VOCABULARY", "WORLD_VERSION"]
