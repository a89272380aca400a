"""The record: a `Run` is a folder, an `EpisodeWriter` fills it. The only SQL there is."""

from superalign_env.store.agents import AgentRow, Annotator
from superalign_env.store.digests import digest
from superalign_env.store.events import Hazard, RecordedEvent
from superalign_env.store.file_integrity import Problem, sealed_page
from superalign_env.store.integrity import Examination, examine, unsealed, validate
from superalign_env.store.metrics import (
    TRAINING,
    Cell,
    MetricRow,
    declare,
    declared,
    kind_of,
)
from superalign_env.store.queries import Census, UtteranceRow, Where
from superalign_env.store.questions import Budget, question_id
from superalign_env.store.repair import repair
from superalign_env.store.run import Run, RunInfo
from superalign_env.store.run_folder import begun
from superalign_env.store.run_fork import fork_record
from superalign_env.store.signals import standing
from superalign_env.store.stages import Stage, StageCost
from superalign_env.store.writer import EpisodeWriter

__all__ = [
    "TRAINING",
    "AgentRow",
    "Annotator",
    "Budget",
    "Cell",
    "Census",
    "EpisodeWriter",
    "Examination",
    "Hazard",
    "MetricRow",
    "Problem",
    "RecordedEvent",
    "Run",
    "RunInfo",
    "Stage",
    "StageCost",
    "UtteranceRow",
    "Where",
    "begun",
    "declare",
    "declared",
    "digest",
    "examine",
    "fork_record",
    "kind_of",
    "question_id",
    "repair",
    "sealed_page",
    "standing",
    "unsealed",
    "validate",
]
