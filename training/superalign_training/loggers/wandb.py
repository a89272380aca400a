"""Weights & Biases."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from superalign_env.store import RunInfo
from superalign_env.types import Metric
from superalign_training.loggers import by_step, keep_id, known_id, library


class Wandb:
    """A run of Weights & Biases; a resumed run goes on in the same one.

    Args:
        project: where it is put.
        mode: ``online``, ``offline`` or ``disabled``; as the library finds it when absent.
    """

    def __init__(self, project: str = "superalign", mode: str | None = None) -> None:
        self._library = library("wandb", extra="wandb")
        self._project = project
        self._mode = mode

    def start(self, info: RunInfo, folder: Path) -> None:
        """Begin, or go on with, a run."""
        self._run: Any = self._library.init(
            project=self._project,
            id=known_id(folder, "wandb"),
            name=folder.name,
            dir=str(folder),
            config=info.config,
            resume="allow",
            mode=self._mode,
        )
        keep_id(folder, "wandb", self._run.id)
        # Its own step may only rise, and policies count their updates apart.
        self._run.define_metric("*", step_metric="step")

    def log(self, metrics: Sequence[Metric]) -> None:
        """Take metrics in the order of the record."""
        for step, values in by_step(metrics):
            self._run.log({**values, "step": step})

    def finish(self) -> None:
        """Write what waits."""
        self._run.finish()
