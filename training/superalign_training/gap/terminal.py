"""The gap on a terminal: progress of training, and rehearsals as a table."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from superalign_env import registry
from superalign_training.gap.making import make_controller
from superalign_training.gap.rehearsal import rehearse
from superalign_training.gap.train import Course, train


def train_with_progress(out: Path, *, seed: int, steps: int | None = None) -> None:
    """Train a policy with a progress bar.

    Args:
        out: the file.
        seed: of everything.
        steps: generations that are raised in all; None is the course's own.
    """
    course = Course(seed=seed) if steps is None else Course(seed=seed, steps=steps)
    with Console(stderr=True).status("raising chains") as status:
        train(
            course,
            out=out,
            on_progress=lambda done: status.update(f"{done:,} of {course.steps:,}"),
        )


def show_rehearsal(names: Sequence[str] | None, *, chains: int, seed: int) -> None:
    """Print what controllers are worth on the same chains of the surrogate.

    Args:
        names: ids; None takes all but those that must be told gold accuracies.
        chains: how many.
        seed: of the first chain.

    Raises:
        UnknownId: nothing is called so.
        InvalidOption: a controller that cannot do without settings.
    """
    made = [make_controller(name) for name in names or registry.entries("gap")]
    if not names:
        made = [controller for controller in made if not controller.oracle]
    for controller in made:
        controller.check(100, 3)
    table = Table(title=f"{chains} chains of the surrogate; no evidence about real ones")
    for heading in ("controller", "queries follow", "same queries", "rolled back"):
        table.add_column(heading, justify="left" if heading == "controller" else "right")
    seeds = range(seed, seed + chains)
    for controller in track(made, "rehearsing", transient=True):
        score = rehearse(controller, seeds)
        table.add_row(
            controller.id,
            f"{score.following:.3f}",
            f"{score.fixed:.3f}",
            f"{score.rolled_back:.2f}",
        )
    Console().print(table)
