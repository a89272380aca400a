"""Settings of all algorithms that compare the plays of one case."""

from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat

from superalign_training.algorithms.algorithm import RefPolicy
from superalign_training.policy.schedule import CONSTANT, Schedule
from superalign_training.sections import Count, Plural, Section


class GroupSettings(Section):
    """Settings of all algorithms that compare the plays of one case."""

    weighs_stored: ClassVar[bool] = True
    steps: Count = 20
    """Optimiser steps, each on episodes of the newest policy."""
    batch_size: Count = 32
    """Different cases in one step."""
    num_generations: Plural = 4
    """Plays of each case: the group whose mean is the baseline."""
    fork: bool = True
    """Whether members share everything up to the learner's first view."""
    micro_batch_size: Count | None = None
    """Rows that go through the model at once; None is all of a step."""
    learning_rate: PositiveFloat = 1e-3
    """Learning rate of AdamW."""
    lr_schedule: Schedule = CONSTANT
    """How the learning rate changes over the policy's life."""
    beta: NonNegativeFloat = 0.1
    """Weight of the KL to the reference policy: without it a tiny policy is sure of
    everything before it has learned anything."""
    ref_policy: RefPolicy = "round"
    """Reference policy: the one that the call began with, or its untrained original."""
