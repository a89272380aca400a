"""Trackio: local dashboards of Hugging Face."""

from collections.abc import Sequence
from pathlib import Path

from superalign_env.store import RunInfo
from superalign_env.types import Metric
from superalign_training.loggers import by_step, keep_id, known_id, library


class Trackio:
    """A run of Trackio; a resumed run goes on in the same one.

    Args:
        project: where it is put.
        space_id: a Space of the hub to mirror it to; none when absent.
    """

    def __init__(self, project: str = "superalign", space_id: str | None = None) -> None:
        self._library = library("trackio", extra="trackio")
        self._project = project
        self._space = space_id

    def start(self, info: RunInfo, folder: Path) -> None:
        """Begin, or go on with, a run."""
        run = self._library.init(
            project=self._project,
            name=known_id(folder, "trackio"),
            space_id=self._space,
            config=info.config,
            resume="allow",
        )
        keep_id(folder, "trackio", run.name)

    def log(self, metrics: Sequence[Metric]) -> None:
        """Take metrics in the order of the record."""
        for step, values in by_step(metrics):
            self._library.log(values, step=step)

    def finish(self) -> None:
        """Write what waits."""
        self._library.finish()
