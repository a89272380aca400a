"""Exports of the package, imported on first use."""

from superalign_agents.adapters import SharedBase
from superalign_training.policy.baselines import Baselines
from superalign_training.policy.checkpoint import Checkpoint
from superalign_training.policy.checkpoint_files import read_agent
from superalign_training.policy.learner_policy import (
    LearnerAgent,
    LearnerPolicy,
    require_unaltered,
)
from superalign_training.policy.model import Lora, shared_base
from superalign_training.policy.optimizer import (
    MasterAdamW,
    MemoryFootprint,
    memory_footprint,
)
from superalign_training.policy.policy import Policy
from superalign_training.policy.schedule import Schedule
from superalign_training.policy.value_head import LogitsAndValues, ValueHead

AnyPolicy = Policy | LearnerPolicy
"""A causal LM in training, or a learner that improves itself."""

__all__ = [
    "AnyPolicy",
    "Baselines",
    "Checkpoint",
    "LearnerAgent",
    "LearnerPolicy",
    "LogitsAndValues",
    "Lora",
    "MasterAdamW",
    "MemoryFootprint",
    "Policy",
    "Schedule",
    "SharedBase",
    "ValueHead",
    "memory_footprint",
    "read_agent",
    "require_unaltered",
    "shared_base",
]
