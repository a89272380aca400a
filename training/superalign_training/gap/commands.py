"""``superalign gap train`` and ``superalign gap rehearse``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from superalign_env.cli.output import console, errors, say, table

app = typer.Typer(
    help="Train the learned gap controller, and try controllers on a model of a chain.",
    add_completion=False,
)


@app.command("train")
def train_command(
    out: Annotated[Path, typer.Option(help="File that gap.policy shall name.")],
    seed: Annotated[int, typer.Option(help="Of everything.", min=0)] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Generations that are raised in all.", min=1)
    ] = None,
) -> None:
    """Train a policy on the surrogate with PPO; about half a minute on one core."""
    from superalign_training.gap.train import PpoTraining, train  # noqa: PLC0415 (imports torch)

    course = (
        PpoTraining(seed=seed) if steps is None else PpoTraining(seed=seed, steps=steps)
    )
    with errors.status("raising chains") as status:
        train(
            course,
            out=out,
            on_progress=lambda done: status.update(f"{done:,} of {course.steps:,}"),
        )
    say("{}", out)


@app.command("rehearse")
def rehearse_command(
    controllers: Annotated[
        list[str] | None, typer.Argument(help="Ids; all but the oracle when left out.")
    ] = None,
    chains: Annotated[int, typer.Option(help="How many chains.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="Of the first chain.", min=0)] = 0,
) -> None:
    """Try controllers on the surrogate: a rehearsal, no evidence about real chains."""
    from superalign_env import registry  # noqa: PLC0415 - when needed
    from superalign_training.gap.controller import make_controller  # noqa: PLC0415 - when needed
    from superalign_training.gap.surrogate import rehearse  # noqa: PLC0415 - when needed

    tested = [make_controller(name) for name in controllers or registry.entries("gap")]
    if not controllers:
        tested = [controller for controller in tested if not controller.oracle]
    for controller in tested:
        controller.check(100, 3)
    seeds, rows = range(seed, seed + chains), []
    for controller in track(tested, "rehearsing", console=console, transient=True):
        score = rehearse(controller, seeds)
        numbers = f"{score.following:.3f}", f"{score.fixed:.3f}", f"{score.rolled_back:.2f}"
        rows.append((controller.id, *numbers))
    say("{} chains of the surrogate; no evidence about real ones", chains)
    console.print(
        table(["controller", "queries follow", "same queries", "rolled back"], rows)
    )
