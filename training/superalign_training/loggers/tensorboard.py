"""TensorBoard, through PyTorch's own writer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from superalign_env.store import RunInfo
from superalign_env.types import Metric
from superalign_training.loggers import library, series


class TensorBoard:
    """Scalars in ``tensorboard/`` of the run's folder.

    What a role is trained by in a stage has a folder of its own there, which TensorBoard
    shows as a line of its own in the chart of each metric.
    """

    def __init__(self) -> None:
        library("tensorboard", extra="tensorboard")
        self._made: Any = library("torch.utils.tensorboard", extra="train").SummaryWriter
        self._writers: dict[str, Any] = {}

    def start(self, info: RunInfo, folder: Path) -> None:
        """Begin, or go on with, a run."""
        self._folder = folder / "tensorboard"

    def log(self, metrics: Sequence[Metric]) -> None:
        """Take metrics in the order of the record."""
        for metric in metrics:
            line = ""
            if "role" in metric.tags:
                line = series(metric).removeprefix(metric.name).strip("/").replace("/", "-")
            if line not in self._writers:
                self._writers[line] = self._made(log_dir=str(self._folder / line))
            name = metric.name if line else series(metric)
            self._writers[line].add_scalar(name, metric.value, metric.step)

    def finish(self) -> None:
        """Write what waits."""
        for writer in self._writers.values():
            writer.close()
