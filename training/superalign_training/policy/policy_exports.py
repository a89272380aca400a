"""Exports of the package, imported on first use."""

from superalign_agents.adapters import SharedBase
from superalign_training.policy.adapter import Lora, shared_base
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.checkpoint import Checkpoint
from superalign_training.policy.folder import read_agent
from superalign_training.policy.memory import Memory, memory_of
from superalign_training.policy.optimiser import MasterAdamW
from superalign_training.policy.outlook import Outlook, ValueHead
from superalign_training.policy.own import OwnAgent, OwnPolicy, require_unaltered
from superalign_training.policy.policy import Policy
from superalign_training.policy.schedule import Schedule

AnyPolicy = Policy | OwnPolicy
"""A causal LM in training, or a learner that improves itself."""

__all__ = [
    "AnyPolicy",
    "Baselines",
    "Checkpoint",
    "Lora",
    "MasterAdamW",
    "Memory",
    "Outlook",
    "OwnAgent",
    "OwnPolicy",
    "Policy",
    "Schedule",
    "SharedBase",
    "ValueHead",
    "memory_of",
    "read_agent",
    "require_unaltered",
    "shared_base",
]
