"""Building a ladder on a terminal: one progress bar for every rung."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from superalign_agents.ladders import RungReference
from superalign_training.ladder.build import Watch, build
from superalign_training.ladder.sizes import size_of
from superalign_training.ladder.snapshots import Levels, Reached, evenly, snapshots
from superalign_training.ladder.worlds import DEFAULT_WORLD, make_world


def build_with_progress(
    *,
    family: str,
    seeds: Sequence[int],
    rungs: Sequence[int],
    out: Path | None = None,
    add: str = "",
    steps: int | None = None,
    tasks: int = 300,
    world: str = DEFAULT_WORLD,
) -> list[Path]:
    """Build rungs with one progress bar each; return their folders.

    Args:
        family: name of the ladder.
        seeds: which seeds.
        rungs: which rungs.
        out: root folder; None is the user's cache.
        add: continue finished rungs on this task family, as ladder ``FAMILY-ADD``.
        steps: replaces every rung's own number of steps.
        tasks: how many held-out tasks measure each family and tier.
        world: id of the world whose text is read.
    """
    with _progress() as watch:
        return build(
            make_world(world, focus=add, tasks=tasks),
            family=f"{family}-{add}" if add else family,
            seeds=seeds,
            rungs=rungs,
            out=out,
            start=family if add else "",
            steps=steps,
            watch=watch,
        )


def snapshots_with_progress(
    levels: int | Sequence[float],
    *,
    family: str,
    seeds: Sequence[int],
    rung: int,
    out: Path | None = None,
    steps: int | None = None,
    tasks: int = 300,
    world: str = DEFAULT_WORLD,
) -> list[Path]:
    """Build ladders out of one run each, with one progress bar each; return the folders.

    Args:
        levels: how many, at equal distances, or the shares of requests that they know.
        family: name of the ladder.
        seeds: one run each.
        rung: which size.
        out: root folder; None is the user's cache.
        steps: replaces the rung's own number of steps.
        tasks: how many held-out tasks measure each family and tier.
        world: id of the world whose text is read.
    """
    torch.set_num_threads(1)  # tiny models are slower on several
    length = steps or size_of(rung).steps
    at: Levels = (
        evenly(levels, steps=length) if isinstance(levels, int) else Reached(tuple(levels))
    )
    text = make_world(world, tasks=tasks)
    folders: list[Path] = []
    with _progress() as watch:
        for seed in seeds:
            folders += snapshots(
                text,
                at=at,
                rung=rung,
                seed=seed,
                steps=length,
                family=family,
                out=out,
                watch=watch,
            )
    return folders


@contextmanager
def _progress() -> Iterator[Watch]:
    """Yield what draws one bar for every rung that is trained."""
    lines: dict[RungReference, TaskID] = {}
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
    )

    def watch(reference: RungReference, step: int, steps: int, loss: float) -> None:
        if reference not in lines:
            lines[reference] = bar.add_task(str(reference), total=steps, loss=loss)
        bar.update(lines[reference], completed=step, loss=loss)

    with bar:
        yield watch
