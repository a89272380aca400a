"""The record: a `Run` is a folder, an `EpisodeWriter` fills it. The only SQL there is."""

from superalign_env.store.agents import AgentRow
from superalign_env.store.annotators import Annotator
from superalign_env.store.cells import Cell
from superalign_env.store.digest import digest
from superalign_env.store.events import Happened
from superalign_env.store.forks import fork_record
from superalign_env.store.hazards import Hazard
from superalign_env.store.integrity import NOT_SEALED, Problem, validate
from superalign_env.store.metrics import TRAINING, Measured, declare, declared, kind_of
from superalign_env.store.queries import Census, Said, Where
from superalign_env.store.questions import Budget, question_id
from superalign_env.store.run import Run, RunInfo
from superalign_env.store.signals import standing
from superalign_env.store.stages import Cost, Stage, costs_by_stage
from superalign_env.store.writer import EpisodeWriter

__all__ = [
    "NOT_SEALED",
    "TRAINING",
    "AgentRow",
    "Annotator",
    "Budget",
    "Cell",
    "Census",
    "Cost",
    "EpisodeWriter",
    "Happened",
    "Hazard",
    "Measured",
    "Problem",
    "Run",
    "RunInfo",
    "Said",
    "Stage",
    "Where",
    "costs_by_stage",
    "declare",
    "declared",
    "digest",
    "fork_record",
    "kind_of",
    "question_id",
    "standing",
    "validate",
]
