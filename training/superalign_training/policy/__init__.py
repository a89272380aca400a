"""Policies: a causal LM, whole or as an adapter, with all that its training must remember."""

from superalign_training.policy.baselines import Baselines
from superalign_training.policy.checkpoint import Checkpoint
from superalign_training.policy.outlook import Outlook, ValueHead
from superalign_training.policy.policy import Policy
from superalign_training.policy.schedule import Schedule

__all__ = ["Baselines", "Checkpoint", "Outlook", "Policy", "Schedule", "ValueHead"]
